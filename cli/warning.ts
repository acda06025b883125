/** Warnings, in the one form that all commands have for them: `warning: TEXT` on standard error, whatever is quiet. */
import { type Environment, type Output, type Style, styleFor } from './terminal.ts';
import { printable, type TextKind } from './text.ts';

/** A warning on one line; text of an image or a registry is escaped. */
export function renderWarning(text: string, style: Style, kind: TextKind = 'text'): string {
  return `${style.yellow('warning')}: ${printable(text, kind)}`;
}

/** A function that prints each different warning once: every opening of a registry repeats its own. */
export async function createWarn(output: Output, env: Environment): Promise<(message: string) => void> {
  const style = await styleFor(output, env);
  const said = new Set<string>();
  return (message) => {
    if (said.has(message)) return;
    said.add(message);
    output.write(`${renderWarning(message, style)}\n`);
  };
}
