"""Who may be a negative, and where negatives come from: the batch, past batches, the other ranks.

One function, `not_negative`, decides for all three pools, on integer codes instead of strings.
"""

from models.negatives.codes import (
    EMPTY,
    CandidateCodes,
    KeyCodes,
    QueryCodes,
    candidate_codes,
    code_of,
    codes_of,
    padded_codes,
    query_codes,
)
from models.negatives.gather import gather_codes, gather_lists, gather_with_grad, num_ranks, rank_of, rows_by_rank
from models.negatives.masks import described, guarded_above, not_negative, related, same_category, same_code
from models.negatives.queue import NegativeQueue
from models.negatives.sets import answers

__all__ = [
    "EMPTY",
    "CandidateCodes",
    "KeyCodes",
    "NegativeQueue",
    "QueryCodes",
    "answers",
    "candidate_codes",
    "code_of",
    "codes_of",
    "described",
    "gather_codes",
    "gather_lists",
    "gather_with_grad",
    "guarded_above",
    "not_negative",
    "num_ranks",
    "padded_codes",
    "query_codes",
    "rank_of",
    "related",
    "rows_by_rank",
    "same_category",
    "same_code",
]
