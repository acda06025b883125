/** The options that every live display has for ora. */
import type { Options } from 'ora';
import { type Environment, hasUnicode, type Output, PLAIN_STYLE, type Style } from '../terminal.ts';

/** Milliseconds between two frames. */
const FRAME_MS = 100;

/** Options of a live display on `output`; its texts are the caller's. */
export function spinnerOptions(output: Output & NodeJS.WritableStream, style: Style, env: Environment): Options {
  return {
    stream: output,
    isEnabled: true,
    // Raw mode would keep Ctrl-C from becoming a signal; nothing reads keys here.
    discardStdin: false,
    // Where ora hides it, it ends the process at the first signal, before the work is cleaned up.
    hideCursor: false,
    color: style === PLAIN_STYLE ? false : 'cyan',
    interval: FRAME_MS,
    ...(hasUnicode(env) ? {} : { spinner: 'line' as const }),
  };
}
