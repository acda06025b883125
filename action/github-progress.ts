/** Progress in the log of a workflow: plain lines, and warnings as annotations, which the run's page shows. */

import { createPlainProgress, describeEvent } from '../cli/progress/plain.ts';
import type { Progress } from '../cli/progress/progress.ts';
import { PLAIN_STYLE } from '../cli/terminal.ts';
import type { Runner } from './workflow-commands.ts';

/** Warnings that become annotations; GitHub shows ten of a step and drops the others. The log has them all. */
const MAX_ANNOTATIONS = 10;

/** The display; `warn` hears of what no event carries, such as the registry client's remarks. */
export function createGithubProgress(runner: Runner): Progress & { readonly warn: (message: string) => void } {
  const plain = createPlainProgress({ write: (text) => runner.log(String(text)) }, PLAIN_STYLE, true);
  const said = new Set<string>();
  let annotations = 0;
  const onEvent: Progress['onEvent'] = (event) => {
    if (event.type !== 'warning' || annotations >= MAX_ANNOTATIONS) return plain.onEvent(event);
    annotations++;
    runner.annotate('warning', 'accel', (describeEvent(event, PLAIN_STYLE, false) ?? '').replace(/^warning: /, ''));
  };
  // Each opening of a registry says again what is odd about the way to it.
  const warn = (message: string): void => {
    if (!said.has(message)) onEvent({ type: 'warning', message });
    said.add(message);
  };
  return { onEvent, stop: () => plain.stop(), warn };
}
