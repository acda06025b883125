/** A real terminal for tests: tmux with a server of its own, read as a person would see it. */
import { join } from 'node:path';
import { run, tempDirectory } from './tools.ts';

/** The size of the terminal, and the program in it. */
export interface TerminalOptions {
  readonly columns: number;
  readonly rows: number;
  /** A shell's command line. */
  readonly command: string;
  /** The whole environment beside PATH, HOME and TERM. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

/** An open terminal. */
export interface Terminal {
  /** The text on the screen, without spaces at the ends of lines; `escapes` keeps colours. */
  screen(options?: { readonly escapes?: boolean; readonly history?: boolean }): Promise<string>;
  /** Types keys by tmux's names (`Tab`, `C-c`) or as text. */
  type(...keys: readonly string[]): Promise<void>;
  /** Waits until the screen shows `pattern`; throws with the screen after a minute or the given time. */
  waitFor(pattern: RegExp, patience?: number): Promise<string>;
  /** Ends it with all that runs in it. */
  close(): Promise<void>;
}

/** Milliseconds. */
const PATIENCE = 60_000;

/** Opens a terminal of a fixed size. */
export async function openTerminal(options: TerminalOptions): Promise<Terminal> {
  const scratch = await tempDirectory('accel-tmux-');
  const tmux = (...args: readonly string[]) =>
    run('tmux', ['-S', join(scratch.path, 'socket'), '-f', '/dev/null', ...args], { accept: 'any' });
  const variables = Object.entries({ HOME: scratch.path, TERM: 'xterm-256color', ...options.env });
  // A clean environment: CI and NO_COLOR of whoever runs the tests would decide what is seen.
  const clean = ['env', '-i', `PATH=${process.env.PATH}`, ...variables.map(([name, value]) => `${name}=${value}`)];
  const size = ['-x', String(options.columns), '-y', String(options.rows)];
  const started = await tmux(
    ...['new-session', '-d', ...size, ...(options.cwd === undefined ? [] : ['-c', options.cwd])],
    ...[...clean, 'sh', '-c', options.command],
    ...[
      ';',
      'set-option',
      'remain-on-exit',
      'on',
      ';',
      'set-option',
      'remain-on-exit-format',
      '',
      ';',
      'set-option',
      'status',
      'off',
    ],
  );
  if (started.exitCode !== 0) throw new Error(`tmux: ${started.stderr}`);
  const screen: Terminal['screen'] = async ({ escapes = false, history = false } = {}) => {
    const flags = ['-p', ...(escapes ? ['-e'] : []), ...(history ? ['-S', '-'] : [])];
    const { stdout } = await tmux('capture-pane', ...flags);
    return stdout.toString('utf8').replace(/ +$/gm, '').trimEnd();
  };
  return {
    screen,
    async type(...keys) {
      await tmux('send-keys', ...keys);
    },
    async waitFor(pattern, patience = PATIENCE) {
      const end = Date.now() + patience;
      for (;;) {
        const text = await screen();
        if (pattern.test(text)) return text;
        if (Date.now() > end) throw new Error(`the terminal never showed ${pattern}:\n${text}`);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    },
    async close() {
      await tmux('kill-server');
      await scratch.remove();
    },
  };
}
