"""The page of the gallery: one template, nothing loaded from elsewhere, and filters that need no script."""

from __future__ import annotations

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Core regions of {{ name }}</title>
<style>
body { font: 14px/1.4 {{ fonts }}; margin: 24px; color: #222; background: #fff; }
h1 { font-size: 22px; margin: 0 0 8px; } p { max-width: 70em; margin: 0 0 12px; }
.cards { display: flex; flex-wrap: wrap; gap: 18px; align-items: flex-start; clear: both; }
figure { margin: 0; width: 240px; } figcaption { font-size: 12px; overflow-wrap: anywhere; margin-top: 4px; }
svg { display: block; } .shot { background: #eee; } rect { fill: none; }
.candidate { stroke: #0aa; stroke-width: 1; } .core { stroke: #d22; stroke-width: 3; }
.true { stroke: #282; stroke-width: 2; stroke-dasharray: 5 3; }
.number { font-size: 10px; fill: #055; paint-order: stroke; stroke: #fff; stroke-width: 2.5px; }
.score { font-weight: 600; } .failed .score { color: #b00; } .title { color: #666; }
.chart { display: inline-block; margin: 0 32px 16px 0; font-size: 12px; vertical-align: top; }
.chart .bar { fill: #8ab4d8; } .chart .low { fill: #e09a8a; } .chart text { font-size: 9px; fill: #444; }
.chart line { stroke: #888; }
.legend span { display: inline-flex; align-items: center; gap: 6px; margin-right: 18px; }
.legend svg { display: inline; } fieldset { border: 0; padding: 0; margin: 0 24px 14px 0; display: inline-block; }
legend { float: left; margin-right: 8px; color: #555; }
input[type=radio] { position: absolute; opacity: 0; }
label { padding: 2px 9px; border: 1px solid #bbb; border-radius: 10px; margin-right: 4px; cursor: pointer; }
label:has(input:checked) { background: #234; border-color: #234; color: #fff; }
label:has(input:focus-visible) { outline: 2px solid #58f; }
body:has(#kind-product:checked) figure:not(.product), body:has(#kind-query:checked) figure:not(.query),
body:has(#kept-whole:checked) figure:not(.whole), body:has(#kept-crop:checked) figure.whole,
body:has(#kept-failed:checked) figure:not(.failed) { display: none; }
</style></head><body>
<h1>Core regions of {{ name }}</h1>
<p>{{ cards|length }} photographs{% if num_all > cards|length %} of {{ num_all }}{% endif %},
{% if mean_iou is not none %}those that miss their true box first, the worst of them in front{% if num_known < \
cards|length %}, then those without one, least sure first{% endif %}. \
Mean IoU with the true box {{ "%.3f"|format(mean_iou) }} over {{ num_known }} photographs, \
{{ num_failed }} of them below {{ failed_iou }}.{% else %}least sure first.{% endif %} In {{ num_whole }} the whole \
picture was kept. Regions {{ digest }}.</p>
<p class="legend">{% for name, words in legend %}<span><svg width="26" height="14"><rect class="{{ name }}" x="2" \
y="2" width="22" height="10"/></svg>{{ words }}</span>{% endfor %}</p>
{% for chart in charts %}<div class="chart">{{ chart.title }}
<svg width="260" height="86" role="img" aria-label="{{ chart.title }}">{% for bar in chart.bars %}
<rect class="bar{% if bar.low %} low{% endif %}" x="{{ loop.index0 * 26 + 1 }}" \
y="{{ "%.1f"|format(68 - bar.height) }}" width="24" height="{{ "%.1f"|format(bar.height) }}"/>\
{% if bar.count %}<text x="{{ loop.index0 * 26 + 13 }}" y="{{ "%.1f"|format(65 - bar.height) }}" \
text-anchor="middle">{{ bar.count }}</text>{% endif %}{% endfor %}
<line x1="0" y1="68.5" x2="260" y2="68.5"/><text x="0" y="80">0</text>\
<text x="130" y="80" text-anchor="middle">0.5</text><text x="260" y="80" text-anchor="end">1</text></svg></div>
{% endfor %}
<div>{% for group, words, choices in filters %}<fieldset><legend>{{ words }}</legend>{% for choice, text in choices %}
<label><input type="radio" name="{{ group }}" id="{{ group }}-{{ choice }}"{% if loop.first %} checked{% endif %}>\
{{ text }}</label>{% endfor %}</fieldset>{% endfor %}</div>
{% macro box(b, name, words) %}<rect class="{{ name }}" x="{{ "%.1f"|format(b[0]) }}" y="{{ "%.1f"|format(b[1]) }}" \
width="{{ "%.1f"|format(b[2] - b[0]) }}" height="{{ "%.1f"|format(b[3] - b[1]) }}"><title>{{ words }}</title></rect>\
{% endmacro %}
<div class="cards">
{% for card in cards %}<figure class="{{ card.shot.kind }}{% if card.core.kept_whole %} whole{% endif %}\
{% if card.failed %} failed{% endif %}">
<svg class="shot" viewBox="0 0 {{ card.size_px[0] }} {{ card.size_px[1] }}" width="{{ card.shown_px[0] }}" \
height="{{ card.shown_px[1] }}"><image href="{{ card.image }}" width="{{ card.size_px[0] }}" \
height="{{ card.size_px[1] }}"/>
{% for found in card.candidates %}{{ box(found.box, "candidate", found.told) }}\
{% if found.numbered %}<text class="number" x="{{ "%.1f"|format(found.box[0] + 3) }}" \
y="{{ "%.1f"|format(found.box[1] + 12) }}">{{ "%.2f"|format(found.score) }}</text>\
{% endif %}{% endfor %}{{ box(card.core.box, "core", card.core.reason) }}\
{% if card.true_box %}{{ box(card.true_box, "true", "true box") }}{% endif %}</svg>
<figcaption lang=""><span class="score">{% if card.iou is not none %}IoU {{ "%.2f"|format(card.iou) }} · {% endif %}\
score {{ "%.2f"|format(card.core.score) }}</span> · {{ card.shot.kind }} · {{ card.shot.photo.ref }}\
{% if card.shot.wanted.title %}<br><span class="title">{{ card.shot.wanted.title }}</span>{% endif %}\
<br>{{ card.core.reason }}</figcaption>
</figure>
{% endfor %}</div></body></html>
"""
