/** One line that says where a verification is, on terminals that can redraw it. */
import type { VerifyProgress } from '../../verify/verify-image.ts';
import { formatBytes, formatShare } from '../format.ts';
import { canRedraw, columnsOf, type Environment, type Output } from '../terminal.ts';
import { ellipsis, printable } from '../text.ts';

/** Milliseconds between two drawings. */
const INTERVAL = 100;
const CLEAR_LINE = '\r\u001b[K';

const STAGES: Readonly<Record<VerifyProgress['stage'], string>> = {
  layers: 'checking digests of the accelerated layers',
  source: 'reading the source layers',
  tree: 'comparing paths',
  content: 'comparing content',
};

/** The display; silent where nothing can be redrawn. */
export interface VerifyDisplay {
  show(platform: string, progress: VerifyProgress): void;
  /** Takes the line away. */
  stop(): void;
}

/** Makes the display for a stream. */
export function createVerifyDisplay(output: Output, env: Environment, now: () => number = Date.now): VerifyDisplay {
  if (!canRedraw(output, env)) return { show: () => undefined, stop: () => undefined };
  let drawnAt = Number.NEGATIVE_INFINITY;
  let isDrawn = false;
  return {
    show(platform, progress) {
      if (now() - drawnAt < INTERVAL) return;
      drawnAt = now();
      isDrawn = true;
      const line = `${printable(platform)}: ${STAGES[progress.stage]} ${amount(progress)}`;
      output.write(CLEAR_LINE + ellipsis(line, columnsOf(output) - 1));
    },
    stop() {
      if (isDrawn) output.write(CLEAR_LINE);
      isDrawn = false;
    },
  };
}

function amount({ stage, done, total }: VerifyProgress): string {
  if (stage === 'tree') return String(done);
  return total === 0
    ? formatBytes(done)
    : `${formatBytes(done)} of ${formatBytes(total)} (${formatShare(done / total)})`;
}
