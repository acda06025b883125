/** The style of the report's page, for light and dark screens. Colours differ in lightness too, and texts keep a contrast of 4.5 to 1. */
export const REPORT_STYLE = `
:root{--ground:#fff;--text:#1b1f24;--dim:#57606a;--line:#d0d7de;--base:#0a5ea8;--shared:#7aa7d6;--own:#b45309;--other:#8c959f;--rest:#dbe2ea}
@media (prefers-color-scheme:dark){:root{--ground:#0f1419;--text:#e6edf3;--dim:#9aa7b4;--line:#333c47;--base:#4c9be8;--shared:#2f5f92;--own:#f0a04b;--other:#6e7a87;--rest:#2a323c}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:70rem;padding:1rem;background:var(--ground);color:var(--text);font:16px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.6rem;line-height:1.2}h2{font-size:1.25rem;margin:2rem 0 .5rem}h3{font-size:1.05rem;margin:1.5rem 0 .5rem}
header p,caption{color:var(--dim)}
.skip{position:absolute;left:-99rem}.skip:focus{position:static}
:focus-visible{outline:3px solid var(--base);outline-offset:2px}
.legend{display:flex;flex-wrap:wrap;gap:.25rem 1rem;list-style:none;margin:0 0 .5rem;padding:0}
.key{width:.9rem;height:.9rem;margin-right:.4rem;vertical-align:-.1rem}
.bar{margin:0 0 .75rem}.bar p{display:flex;flex-wrap:wrap;justify-content:space-between;gap:0 1rem;margin:0}.bar span{min-width:0}
.bar svg{display:block;width:100%;height:1.25rem}
rect.ground{fill:none;stroke:var(--line)}rect.base{fill:var(--base)}rect.shared{fill:var(--shared)}rect.own{fill:var(--own)}rect.other{fill:var(--other)}rect.rest{fill:var(--rest)}
.table{overflow-x:auto;margin:.5rem 0 1rem}
table{border-collapse:collapse;min-width:100%;overflow-wrap:normal}caption{text-align:left;padding:.25rem 0}
th,td{border-bottom:1px solid var(--line);padding:.25rem .75rem .25rem 0;text-align:left;vertical-align:top}
td{font-variant-numeric:tabular-nums;white-space:nowrap}td:last-child{white-space:normal;min-width:12rem}thead th{color:var(--dim);font-weight:600}tbody th{font-weight:400}
.problems{border-left:4px solid var(--own);padding-left:1rem}
@media (forced-colors:active){rect{stroke:CanvasText}}
@media print{.table{overflow:visible}}
`;
