/** Converter events in, something for people out: the choice between the ways to show them. */
import type { EventSink } from '../../converter/events.ts';
import { canRedraw, type Environment, type Output, styleFor } from '../terminal.ts';
import { createPlainProgress } from './plain.ts';

/** A running display of a conversion. */
export interface Progress {
  /** Shows one event; never throws. */
  readonly onEvent: EventSink;
  /** Ends the display: takes away what is only for the time of the run, keeps what is worth keeping. */
  stop(): void;
}

/** How much to show: nothing, warnings alone, what matters, or all. */
export type Verbosity = 'quiet' | 'warnings' | 'normal' | 'verbose';

/**
 * The display for a stream: live lines on a terminal, plain lines elsewhere, with `warnings` and with `verbose`, nothing
 * with `quiet`.
 * Only what is needed is loaded.
 */
export async function createProgress(output: Output, env: Environment, verbosity: Verbosity): Promise<Progress> {
  if (verbosity === 'quiet') return { onEvent: () => undefined, stop: () => undefined };
  const style = await styleFor(output, env);
  if (verbosity === 'normal' && canRedraw(output, env)) {
    const { createTtyProgress } = await import('./tty.ts');
    return createTtyProgress(output as Output & NodeJS.WritableStream, env, style);
  }
  const plain = createPlainProgress(output, style, verbosity === 'verbose');
  if (verbosity !== 'warnings') return plain;
  return { ...plain, onEvent: (event) => (event.type === 'warning' ? plain.onEvent(event) : undefined) };
}
