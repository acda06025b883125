import type { Argument, Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { createProgram } from '../program.ts';
import { captured } from '../testing/sample.ts';
import { loadSettings } from './load-settings.ts';
import { commandName, runnableCommands, type Setting, settingsOf } from './setting.ts';

async function* noInput(): AsyncGenerator<Uint8Array> {}

/** The whole tree, in which every command does nothing. */
async function inertProgram(): Promise<Command> {
  const program = await createProgram({
    stdout: captured(),
    stderr: captured(),
    stdin: noInput(),
    env: {},
    signal: new AbortController().signal,
    loadConverter: () => Promise.reject(new Error('nothing is converted here')),
    setReporting: () => undefined,
  });
  for (const command of runnableCommands(program)) command.action(() => undefined);
  return program;
}

/** The parsed flags of a call, and the origins of its settings. */
async function call(name: string, flags: readonly string[], env: Record<string, string> = {}) {
  const program = await inertProgram();
  const command = runnableCommands(program).find((one) => commandName(one) === name)!;
  const { origins, warnings } = await new Promise<Awaited<ReturnType<typeof loadSettings>>>((resolve, reject) => {
    program.hook('preAction', async (_, called) => {
      const off = new Set<string>();
      await loadSettings(called, { env, off, loadProgram: inertProgram }).then(resolve, reject);
    });
    const operands = command.registeredArguments.filter(({ required }) => required).map(operand);
    program.parseAsync([...name.split(' '), ...flags, ...operands], { from: 'user' }).catch(reject);
  });
  return { values: command.optsWithGlobals(), origins, warnings };
}

function operand(argument: Argument): string {
  return argument.argChoices?.[0] ?? 'host.test/app:1';
}

const commands = runnableCommands(await inertProgram());
const every = commands.flatMap((command) =>
  settingsOf(command).map(
    (setting) => [`${commandName(command)} ${setting.flag}`, commandName(command), setting] as const,
  ),
);

/** Two texts for each flag whose parser does not take any text; the second differs from the default too. */
const SAMPLES: Readonly<Record<string, readonly [string, string]>> = {
  '--chunk-size': ['4M', '8M'],
  '--min-rate': ['1K', '2K'],
  '--max-wait': ['1s', '2s'],
  '--vsize': ['32', '128'],
  '--bs': ['8K', '16K'],
  '--level': ['3', '9'],
  '--span': ['2M', '4M'],
  '--max-files': ['10', '20'],
  '--max-layer-size': ['1G', '2G'],
  '--concurrency-limit': ['2', '3'],
  '--workers': ['1', '2'],
  '--max-memory': ['300M', '400M'],
  '--timeout': ['1m', '2m'],
  '--agent': ['127.0.0.1:1', '127.0.0.1:2'],
  '--listen': ['127.0.0.1:1', '127.0.0.1:2'],
};

function samplesOf({ flag, takes, option }: Setting): readonly [string, string] {
  if (takes === 'switch') return ['true', 'true'];
  if (SAMPLES[flag] !== undefined) return SAMPLES[flag];
  const choices = option.argChoices;
  if (choices !== undefined) return [choices[0]!, choices.at(-1)!];
  return ['some', 'other'];
}

function asFlags({ flag, takes }: Setting, text: string): string[] {
  return takes === 'switch' ? [flag] : [`${flag}=${text}`];
}

describe.each(every)('%s', (_, name, setting) => {
  const [first, second] = samplesOf(setting);

  it('its variable gives the value that the flag gives', async () => {
    const byFlag = await call(name, asFlags(setting, first));
    const byVariable = await call(name, [], { [setting.variable]: first });
    expect(byVariable.values).toEqual(byFlag.values);
    expect(byVariable.origins.get(setting.flag)).toEqual({ kind: 'variable', variable: setting.variable });
    // The flag would prove nothing if it left the default.
    expect(byFlag.values[setting.attribute] ?? first).toEqual(byFlag.values[setting.attribute]);
  });

  it('the flag wins over the variable', async () => {
    const both = await call(name, asFlags(setting, second), { [setting.variable]: first });
    expect(both.values).toEqual((await call(name, asFlags(setting, second))).values);
    expect(both.origins.get(setting.flag)).toEqual({ kind: 'flag' });
  });
});
