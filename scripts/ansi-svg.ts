/** Draws the screen of a terminal: text with colour escapes (tmux's `capture-pane -e`) to SVG. Pure. */

/** Colours of the sixteen that a terminal has, by the number of their escape. */
const COLORS: Readonly<Record<number, string>> = {
  31: '#ff7b72',
  32: '#56d364',
  33: '#e3b341',
  36: '#56d4dd',
  90: '#8b949e',
};
const INK = '#e6edf3';
const PAPER = '#0d1117';
const DIM = '#7d8590';

/** Size of a character, of the edge around the text, and of the letters, in pixels. */
const CELL = { width: 8.4, height: 18 };
const EDGE = 16;
const LETTERS = 14;

interface Look {
  readonly color: number | undefined;
  readonly bold: boolean;
  readonly dim: boolean;
}

interface Run extends Look {
  /** Column of the first character. */
  readonly at: number;
  readonly text: string;
}

const PLAIN: Look = { color: undefined, bold: false, dim: false };

/** The picture of `screen`, `columns` wide and as high as it has lines; `title` is for readers that see none. */
export function ansiToSvg(screen: string, columns: number, title: string): string {
  const lines = screen.split('\n');
  const width = Math.ceil(columns * CELL.width + 2 * EDGE);
  const height = lines.length * CELL.height + 2 * EDGE;
  let look = PLAIN;
  const texts = lines.flatMap((line, row) => {
    const [runs, last] = runsOf(line, look);
    look = last;
    return runs.filter(({ text }) => text.trim() !== '').map((run) => element(run, row));
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">
<title>${escapeXml(title)}</title>
<rect width="${width}" height="${height}" rx="8" fill="${PAPER}"/>
<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="${LETTERS}" fill="${INK}" xml:space="preserve">
${texts.join('\n')}
</g>
</svg>
`;
}

/** A line as runs of one look, and the look that the next line begins with. */
function runsOf(line: string, before: Look): [Run[], Look] {
  const runs: Run[] = [];
  let look = before;
  let at = 0;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the escapes are what is looked for
  for (const part of line.split(/(\u001b\[[\d;]*m)/)) {
    if (part.startsWith('\u001b')) {
      for (const code of part.slice(2, -1).split(';')) look = changed(look, Number(code));
    } else if (part !== '') {
      runs.push({ ...look, at, text: part });
      at += [...part].length;
    }
  }
  return [runs, look];
}

function changed(look: Look, code: number): Look {
  switch (code) {
    case 0:
      return PLAIN;
    case 1:
      return { ...look, bold: true };
    case 2:
      return { ...look, dim: true };
    case 22:
      return { ...look, bold: false, dim: false };
    case 39:
      return { ...look, color: undefined };
    case 49:
      return look;
    default:
      if (COLORS[code] === undefined) throw new Error(`there is no picture of the escape ${code}`);
      return { ...look, color: code };
  }
}

/** Every run is stretched to its cells: fonts differ in the width of blocks and check marks. */
function element({ at, text, color, bold, dim }: Run, row: number): string {
  const lead = text.length - text.trimStart().length;
  const shown = text.trim();
  const x = EDGE + (at + lead) * CELL.width;
  const y = EDGE + row * CELL.height + LETTERS;
  const fill = color === undefined ? (dim ? DIM : undefined) : COLORS[color];
  const attributes = [
    `x="${x.toFixed(1)}"`,
    `y="${y}"`,
    `textLength="${([...shown].length * CELL.width).toFixed(1)}"`,
    'lengthAdjust="spacingAndGlyphs"',
    ...(bold ? ['font-weight="bold"'] : []),
    ...(fill === undefined ? [] : [`fill="${fill}"`]),
  ];
  return `<text ${attributes.join(' ')}>${escapeXml(shown)}</text>`;
}

function escapeXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
