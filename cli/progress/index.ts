/** Converter events in, something for people out: the choice between the ways to show them. */
import { canRedraw, type Environment, type Output, PLAIN_STYLE, styleFor } from '../terminal.ts';
import { createPlainProgress } from './plain.ts';
import type { Progress, Verbosity } from './progress.ts';

/**
 * The display for a stream: live lines on a terminal, plain lines elsewhere, with `warnings` and with `verbose`. Loads
 * only the one that is needed.
 */
export async function createProgress(output: Output, env: Environment, verbosity: Verbosity): Promise<Progress> {
  const style = await styleFor(output, env);
  if (verbosity === 'normal' && canRedraw(output, env)) {
    const { createTtyProgress } = await import('./tty.ts');
    return createTtyProgress(output as Output & NodeJS.WritableStream, env, style);
  }
  // Where only the result is wanted, nothing else is coloured.
  const plain = createPlainProgress(output, verbosity === 'warnings' ? PLAIN_STYLE : style, verbosity === 'verbose');
  if (verbosity !== 'warnings') return plain;
  return { ...plain, onEvent: (event) => (event.type === 'warning' ? plain.onEvent(event) : undefined) };
}
