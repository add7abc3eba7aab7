"""Style sheet of the data page; also gives Great Expectations' markup the few rules it needs without its own sheets."""

from catalog.fonts import CSS_FONTS

STYLE = """
:root { color-scheme: light; --ink: #1d2330; --muted: #667085; --line: #e4e7ec; --good: #12715b; --good-bg: #d9f2ea;
  --error: #b42318; --error-bg: #fee4e2; --warning: #93540a; --warning-bg: #fdf0cf; --accent: #3b5ba9; }
* { box-sizing: border-box; }
body { margin: 0; background: #f7f8fa; color: var(--ink); font: 15px/1.5 FONTS; }
main { max-width: 1080px; margin: 0 auto; padding: 40px 24px 80px; }
h1 { font-size: 30px; margin: 0 0 6px; line-height: 1.2; } h2 { font-size: 19px; margin: 40px 0 12px; }
h3 { font-size: 15px; margin: 0 0 4px; }
.eyebrow { text-transform: uppercase; letter-spacing: .08em; font-size: 12px; color: var(--muted); margin: 0 0 4px; }
.lead { font-size: 17px; margin: 4px 0; } .muted { color: var(--muted); font-size: 13px; margin: 2px 0; }
.pill { display: inline-block; margin-left: 12px; padding: 2px 10px; border-radius: 99px; font-size: 12px;
  font-weight: 600; vertical-align: middle; }
.pill.good { background: var(--good-bg); color: var(--good); } .pill.error { background: var(--error-bg);
  color: var(--error); } .pill.warning { background: var(--warning-bg); color: var(--warning); }
table { border-collapse: collapse; width: 100%; background: #fff; border: 1px solid var(--line); }
th, td { text-align: left; padding: 7px 12px; border-bottom: 1px solid var(--line); vertical-align: top; }
thead th { font-size: 12px; color: var(--muted); font-weight: 600; }
.counts { margin-top: 24px; } .counts td, .counts thead th { text-align: right; font-variant-numeric: tabular-nums; }
.card { background: #fff; border: 1px solid var(--line); border-left: 4px solid var(--muted); padding: 14px 18px;
  margin: 0 0 12px; border-radius: 4px; }
.card.error { border-left-color: var(--error); } .card.warning { border-left-color: #e0a11b; }
.beside { display: flex; gap: 20px; align-items: flex-start; flex-wrap: wrap; }
.examples { margin: 10px 0 0; padding-left: 18px; font-size: 13px; overflow-wrap: anywhere; flex: 1 1 320px; }
.pairs { display: flex; flex-wrap: wrap; gap: 12px; margin-top: 10px; }
.pair { display: flex; gap: 4px; padding: 6px; background: #f2f4f7; border-radius: 4px; }
figure { margin: 0; width: 112px; } figure img { width: 112px; height: 112px; object-fit: contain; background: #fff;
  border: 1px solid var(--line); display: block; }
figcaption { font-size: 11px; line-height: 1.3; color: var(--muted); overflow-wrap: anywhere; margin-top: 3px;
  max-height: 2.6em; overflow: hidden; }
.broken { width: 112px; height: 112px; display: grid; place-items: center; text-align: center; font-size: 12px;
  padding: 8px; color: var(--error); background: repeating-linear-gradient(45deg, #fff, #fff 6px, #fdf1f0 6px 12px);
  border: 1px dashed var(--error); }
.sheet { display: grid; grid-template-columns: repeat(auto-fill, 112px); gap: 14px; justify-content: space-between; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(320px, 1fr)); gap: 24px; align-items: start; }
.bars td { padding: 3px 10px; font-size: 13px; } .bars td:nth-child(2) { text-align: right; white-space: nowrap;
  font-variant-numeric: tabular-nums; } .bar { width: 40%; } .bar div { height: 10px; margin-top: 5px;
  background: var(--accent); border-radius: 2px; min-width: 1px; }
details { background: #fff; border: 1px solid var(--line); border-radius: 4px; padding: 8px 14px; margin-bottom: 8px; }
summary { cursor: pointer; font-weight: 600; } code { font-size: 12px; }
.gx [data-toggle="collapse"], .gx .collapse { display: none; }
.gx .ge-section { margin-top: 14px; } .gx h5 { margin: 0 0 4px; font-size: 14px; } .gx table { font-size: 13px; }
.gx .fa-check-circle::before, .gx .fa-check::before { content: "\\2713"; color: var(--good); font-style: normal; }
.gx .fa-times::before, .gx .fa-exclamation-triangle::before { content: "\\2717"; color: var(--error);
  font-style: normal; }
.gx .text-danger { color: var(--error); } .gx .text-success { color: var(--good); } .gx td { overflow-wrap: anywhere; }
.gx .badge { background: #eef1f6; border-radius: 3px; padding: 0 4px; }
""".replace("FONTS", CSS_FONTS)
