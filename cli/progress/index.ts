/** Converter events in, something for people out: the choice between the ways to show them. */
import type { ConvertEvent } from '../../converter/events.ts';
import { LogOutput, streamOf } from '../log-output.ts';
import { canRedraw, type Environment, type Output, PLAIN_STYLE, styleFor } from '../terminal.ts';
import { createPlainProgress } from './plain.ts';
import type { Progress, Verbosity } from './progress.ts';

/**
 * The display for a stream: live lines on a terminal, plain lines elsewhere, with `warnings` and with `verbose`. Loads
 * only the one that is needed.
 */
export async function createProgress(output: Output, env: Environment, verbosity: Verbosity): Promise<Progress> {
  if (output instanceof LogOutput && output.isJson) return createJsonProgress(output, verbosity);
  const style = await styleFor(output, env);
  if (verbosity === 'normal' && canRedraw(output, env)) {
    const { createTtyProgress } = await import('./tty.ts');
    return createTtyProgress(streamOf(output), env, style);
  }
  // Where only the result is wanted, nothing else is coloured.
  const plain = createPlainProgress(output, verbosity === 'warnings' ? PLAIN_STYLE : style, verbosity === 'verbose');
  if (verbosity !== 'warnings') return plain;
  return { ...plain, onEvent: (event) => (event.type === 'warning' ? plain.onEvent(event) : undefined) };
}

/** Records with the words of the plain lines, and the event itself as their fields. */
function createJsonProgress(output: LogOutput, verbosity: Verbosity): Progress {
  let current: ConvertEvent | undefined;
  const lines = {
    write: (text: string | Uint8Array): void => {
      const { type = 'warning', ...facts } = current ?? {};
      const message = String(text)
        .trimEnd()
        .replace(/^warning: /, '');
      output.log(
        { level: type === 'warning' ? 'warning' : 'info', message, fields: { event: type, ...facts } },
        String(text),
      );
    },
  };
  const plain = createPlainProgress(lines, PLAIN_STYLE, verbosity === 'verbose');
  return {
    onEvent(event) {
      if (verbosity === 'warnings' && event.type !== 'warning') return;
      current = event;
      plain.onEvent(event);
    },
    stop: () => plain.stop(),
  };
}
