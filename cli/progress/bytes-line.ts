/** One line that says how much of a known amount is done, on terminals alone: a log gains nothing from it. */
import { formatBytes, formatShare } from '../format.ts';
import { canRedraw, type Environment, type Output } from '../terminal.ts';

/** The line; both methods throw nothing. */
export interface BytesLine {
  /** Shows it, a few times a second at most. */
  readonly show: (progress: { readonly done: number; readonly total: number }) => void;
  /** Takes it away. */
  readonly clear: () => void;
}

/** Milliseconds between two drawings. */
const INTERVAL = 200;
const CLEAR_LINE = '\r\x1b[K';

/** A line on `output`; it stays empty with `quiet` and where lines cannot be redrawn. */
export function createBytesLine(output: Output, env: Environment, quiet: boolean, now = Date.now): BytesLine {
  const silent = quiet || !canRedraw(output, env);
  let drawnAt = Number.NEGATIVE_INFINITY;
  let visible = false;
  return {
    show({ done, total }) {
      const time = now();
      if (silent || time - drawnAt < INTERVAL) return;
      drawnAt = time;
      visible = true;
      const share = total === 0 ? '' : ` (${formatShare(done / total)})`;
      output.write(`${CLEAR_LINE}${formatBytes(done)} of ${formatBytes(total)}${share}`);
    },
    clear() {
      if (visible) output.write(CLEAR_LINE);
      visible = false;
    },
  };
}
