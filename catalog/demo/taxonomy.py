"""What the demo shop sells, as data: category paths, the attributes that fit each leaf, and words."""

from __future__ import annotations

from dataclasses import dataclass

MOTIFS = ("star", "heart", "moon", "sun", "bolt", "leaf", "wave", "mountain", "cat", "ring", "arrow", "flower")
PATTERNS = ("solid", "stripes", "checks", "dots", "floral", "zigzag", "colour block")
POTTERY = ("solid", "stripes", "dots", "speckled", "two-tone", "floral", "zigzag")
MULTI_VALUED = frozenset({"details"})


@dataclass(frozen=True)
class Leaf:
    """A leaf category: where it hangs, what it is called, which attributes show in its pictures."""

    path: tuple[str, str, str]
    draw: str
    """Name of its drawing in `catalog.demo.shapes`."""
    nouns: tuple[str, ...]
    """The category's own word first, then what shoppers and sellers also call it."""
    attributes: dict[str, tuple[str, ...]]
    price: tuple[float, float]
    weight: float = 1.0
    """How often the shop stocks it, relative to the other leaves."""
    mirrors: bool = True
    """Whether a photograph from the other side shows the mirrored outline."""

    @property
    def name(self) -> str:
        return self.path[-1]


_TOP = ("Clothing", "Tops")
_BOTTOM = ("Clothing", "Bottoms")
_BAGS = ("Accessories", "Bags")
_KITCHEN = ("Home", "Kitchen")
_DECOR = ("Home", "Decor")

LEAVES: tuple[Leaf, ...] = (
    Leaf(
        (*_TOP, "T-shirts"),
        "tshirt",
        ("T-shirt", "tee", "jersey top"),
        {
            "pattern": PATTERNS,
            "material": ("cotton", "linen"),
            "neckline": ("crew neck", "V-neck", "scoop neck"),
            "sleeve": ("short", "long", "sleeveless"),
            "fit": ("slim", "regular", "oversized"),
            "motif": MOTIFS,
            "details": ("chest pocket", "contrast trim", "side vents", "rolled cuffs"),
        },
        (12, 45),
        1.4,
    ),
    Leaf(
        (*_TOP, "Shirts"),
        "shirt",
        ("shirt", "button-down", "blouse"),
        {
            "pattern": ("solid", "stripes", "checks", "dots", "floral"),
            "material": ("cotton", "linen", "denim"),
            "neckline": ("pointed collar", "band collar"),
            "sleeve": ("short", "long"),
            "fit": ("slim", "regular", "oversized"),
            "closure": ("buttons", "hidden placket"),
            "details": ("chest pocket", "two pockets", "contrast trim", "shoulder straps"),
        },
        (25, 90),
    ),
    Leaf(
        (*_TOP, "Hoodies"),
        "hoodie",
        ("hoodie", "hooded sweatshirt", "pullover"),
        {
            "pattern": ("solid", "stripes", "colour block", "zigzag"),
            "material": ("cotton", "knit"),
            "closure": ("pullover", "full zip"),
            "fit": ("slim", "regular", "oversized"),
            "motif": MOTIFS,
            "details": ("kangaroo pocket", "drawstring", "contrast sleeves", "contrast trim"),
        },
        (35, 110),
    ),
    Leaf(
        (*_BOTTOM, "Trousers"),
        "trousers",
        ("trousers", "pants", "slacks"),
        {
            "pattern": ("solid", "stripes", "checks"),
            "material": ("denim", "cotton", "corduroy"),
            "fit": ("skinny", "straight", "wide leg"),
            "length": ("cropped", "full length", "shorts"),
            "closure": ("button", "drawstring"),
            "details": ("cargo pockets", "contrast stitching", "rolled hem", "side stripe", "knee patches"),
        },
        (30, 120),
    ),
    Leaf(
        (*_BOTTOM, "Skirts"),
        "skirt",
        ("skirt", "mini", "flippy bottom"),
        {
            "pattern": PATTERNS,
            "material": ("cotton", "denim", "satin"),
            "length": ("mini", "midi", "maxi"),
            "silhouette": ("A-line", "pencil", "pleated"),
            "details": ("belt", "button front", "contrast trim", "patch pockets", "side slit"),
        },
        (25, 95),
    ),
    Leaf(
        ("Clothing", "One-piece", "Dresses"),
        "dress",
        ("dress", "frock", "gown"),
        {
            "pattern": PATTERNS,
            "material": ("cotton", "satin", "linen"),
            "neckline": ("crew neck", "V-neck", "scoop neck"),
            "sleeve": ("short", "long", "sleeveless"),
            "length": ("mini", "midi", "maxi"),
            "silhouette": ("A-line", "fitted", "tiered"),
            "details": ("belt", "button front", "contrast trim", "bow"),
        },
        (35, 190),
        1.2,
    ),
    Leaf(
        ("Footwear", "Casual", "Sneakers"),
        "sneaker",
        ("sneakers", "trainers", "kicks"),
        {
            "pattern": ("solid", "colour block", "checks", "dots"),
            "material": ("canvas", "leather", "mesh"),
            "closure": ("laces", "straps", "slip-on"),
            "height": ("low", "high"),
            "sole": ("flat", "chunky", "wedge"),
            "details": ("side stripe", "toe cap", "heel tab", "side star"),
        },
        (40, 160),
        1.4,
    ),
    Leaf(
        ("Footwear", "Casual", "Boots"),
        "boot",
        ("boots", "ankle boots", "booties"),
        {
            "material": ("leather", "suede", "rubber"),
            "closure": ("laces", "zip", "buckle", "pull-on"),
            "height": ("low", "mid", "high"),
            "heel": ("flat", "block", "stacked"),
            "toe": ("round", "pointed"),
            "details": ("toe cap", "contrast stitching", "fur lining", "pull tab"),
        },
        (60, 240),
    ),
    Leaf(
        ("Footwear", "Formal", "Pumps"),
        "pump",
        ("pumps", "high heels", "court shoes"),
        {
            "pattern": ("solid", "dots", "colour block", "stripes"),
            "material": ("leather", "suede", "satin"),
            "closure": ("slip-on", "ankle strap", "T-strap"),
            "heel": ("stiletto", "block", "kitten", "wedge"),
            "toe": ("round", "pointed"),
            "details": ("bow", "toe cap", "platform", "buckle"),
        },
        (45, 210),
    ),
    Leaf(
        (*_BAGS, "Handbags"),
        "handbag",
        ("handbag", "purse", "tote"),
        {
            "pattern": ("solid", "checks", "stripes", "colour block", "zigzag"),
            "material": ("leather", "canvas", "straw"),
            "handle": ("top handle", "chain strap", "two handles"),
            "closure": ("flap", "zip", "clasp"),
            "size": ("small", "medium", "large"),
            "details": ("tassel", "contrast stitching", "metal feet", "front pocket", "charm"),
        },
        (35, 320),
        1.2,
    ),
    Leaf(
        (*_BAGS, "Backpacks"),
        "backpack",
        ("backpack", "rucksack", "daypack"),
        {
            "pattern": ("solid", "colour block", "stripes", "dots", "zigzag"),
            "material": ("canvas", "leather"),
            "closure": ("zip", "flap with buckles", "roll top"),
            "size": ("small", "medium", "large"),
            "motif": MOTIFS,
            "details": ("front pocket", "side pockets", "grab handle", "bungee cord"),
        },
        (35, 180),
    ),
    Leaf(
        ("Accessories", "Wearables", "Watches"),
        "watch",
        ("watch", "timepiece", "wristwatch"),
        {
            "material": ("leather", "metal", "rubber"),
            "shape": ("round", "square", "cushion"),
            "dial": ("bar markers", "numerals", "dots", "bare"),
            "size": ("small", "medium", "large"),
            "details": ("chronograph", "date window", "coloured bezel", "moon phase"),
        },
        (45, 480),
        mirrors=False,
    ),
    Leaf(
        ("Accessories", "Wearables", "Sunglasses"),
        "sunglasses",
        ("sunglasses", "shades", "sunnies"),
        {
            "shape": ("round", "square", "cat-eye", "aviator"),
            "lens": ("dark", "gradient", "mirrored"),
            "material": ("plastic", "metal"),
            "size": ("small", "medium", "large"),
            "details": ("double bridge", "contrast temples", "studs", "thick rim"),
        },
        (18, 190),
    ),
    Leaf(
        ("Accessories", "Headwear", "Caps"),
        "cap",
        ("cap", "baseball hat", "snapback"),
        {
            "pattern": ("solid", "colour block", "checks", "stripes", "dots"),
            "material": ("cotton", "canvas", "corduroy"),
            "brim": ("curved", "flat"),
            "motif": MOTIFS,
            "details": ("contrast brim", "contrast stitching", "mesh back", "top button"),
        },
        (12, 45),
    ),
    Leaf(
        (*_KITCHEN, "Mugs"),
        "mug",
        ("mug", "coffee cup", "beaker"),
        {
            "pattern": POTTERY,
            "material": ("ceramic", "enamel"),
            "handle": ("loop", "square", "ear"),
            "shape": ("straight", "tapered", "rounded"),
            "size": ("small", "medium", "large"),
            "motif": MOTIFS,
            "details": ("contrast rim", "contrast handle", "bare clay base", "spoon"),
        },
        (8, 35),
        1.2,
    ),
    Leaf(
        (*_KITCHEN, "Teapots"),
        "teapot",
        ("teapot", "tea kettle", "brewer"),
        {
            "pattern": POTTERY,
            "material": ("ceramic", "metal"),
            "handle": ("side handle", "top handle"),
            "shape": ("rounded", "tall", "squat"),
            "details": ("contrast lid", "wooden knob", "infuser ring", "feet"),
        },
        (22, 95),
    ),
    Leaf(
        (*_KITCHEN, "Bottles"),
        "bottle",
        ("bottle", "flask", "tumbler"),
        {
            "pattern": ("solid", "stripes", "dots", "two-tone", "zigzag"),
            "material": ("metal", "glass", "plastic"),
            "closure": ("screw cap", "flip straw", "loop cap"),
            "size": ("small", "medium", "large"),
            "motif": MOTIFS,
            "details": ("silicone sleeve", "carry strap", "contrast base", "scale marks"),
        },
        (9, 48),
    ),
    Leaf(
        ("Home", "Lighting", "Table lamps"),
        "lamp",
        ("table lamp", "desk light", "bedside light"),
        {
            "pattern": ("solid", "stripes", "pleats", "dots"),
            "material": ("ceramic", "wood", "metal"),
            "shade": ("cone", "drum", "dome", "globe"),
            "base": ("gourd", "column", "tripod", "stacked balls"),
            "size": ("small", "medium", "large"),
            "details": ("pull chain", "contrast trim", "tassel fringe", "brass foot"),
        },
        (29, 210),
    ),
    Leaf(
        (*_DECOR, "Vases"),
        "vase",
        ("vase", "urn", "flower holder"),
        {
            "pattern": POTTERY,
            "material": ("ceramic", "glass"),
            "silhouette": ("bottle", "urn", "cylinder", "sphere", "hourglass"),
            "size": ("small", "medium", "large"),
            "details": ("two handles", "dried stems", "contrast rim", "ribbed"),
        },
        (15, 120),
    ),
    Leaf(
        (*_DECOR, "Cushions"),
        "cushion",
        ("cushion", "throw pillow", "scatter pillow"),
        {
            "pattern": PATTERNS,
            "material": ("cotton", "knit", "corduroy", "linen"),
            "shape": ("square", "rectangle", "round"),
            "motif": MOTIFS,
            "details": ("tassels", "piping", "buttons", "fringe"),
        },
        (12, 60),
    ),
)


def leaf_by_name(name: str) -> Leaf:
    """The leaf called `name`; KeyError where the shop has none."""
    return {leaf.name: leaf for leaf in LEAVES}[name]
