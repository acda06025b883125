/** Values of flags from a file of settings: its keys compared with the flags, and what a project's file may set. */
import { dirname, resolve } from 'node:path';
import type { Command } from 'commander';
import type { AccelError } from '../../base/error.ts';
import { nearest } from '../../base/nearest.ts';
import type { FoundFile } from './find-files.ts';
import { type Given, refusedValue } from './given.ts';
import { mistake } from './open-yaml.ts';
import { type Entry, type ParsedFile, SECTIONS_KEY } from './parse-file.ts';
import { PROJECT_FLAGS } from './project-keys.ts';
import { commandName, runnableCommands, type Setting, settingsOf } from './setting.ts';
import { PROJECT_FILE_VARIABLE, switchOf } from './variables.ts';

/** The values of a file for a command: those of its section, then those for every command. */
export interface FileValues {
  readonly layers: readonly (readonly Given[])[];
  /** Whether the file has keys or sections that the command does not have. */
  readonly hasOthers: boolean;
}

/** The values that `file` gives to the settings of the command `name`. Throws `usage` for one that it may not give. */
export function fileValues(
  file: FoundFile,
  { entries, sections }: ParsedFile,
  name: string,
  settings: readonly Setting[],
): FileValues {
  const byKey = new Map(settings.map((setting) => [setting.key, setting]));
  const given = (list: readonly Entry[]): Given[] =>
    list.flatMap((entry) => {
      const setting = byKey.get(entry.key);
      return setting === undefined ? [] : [givenBy(file, entry, setting)];
    });
  const own = sections.find((section) => section.name === name)?.entries ?? [];
  return {
    layers: [given(own), given(entries)],
    hasOthers:
      sections.some((section) => section.name !== name) || [...entries, ...own].some(({ key }) => !byKey.has(key)),
  };
}

/** Checks every key of a file, with the whole command tree. Throws `usage` for an unknown one, with the nearest. */
export function checkFile(file: FoundFile, { entries, sections }: ParsedFile, program: Command): void {
  const commands = new Map(runnableCommands(program).map((command) => [commandName(command), command]));
  const all = [...commands.values()].map((command) => ({ command, settings: settingsOf(command) }));
  const keys = [...new Set(all.flatMap(({ settings }) => settings.map(({ key }) => key)))];
  for (const entry of entries) {
    if (!keys.includes(entry.key)) throw unknownKey(entry, [...keys, SECTIONS_KEY], commands);
    const refusals = all.flatMap(({ settings }) => {
      const setting = settings.find(({ key }) => key === entry.key);
      return setting === undefined ? [] : [refusalOf(file, entry, setting)];
    });
    // A list may be right for one command and wrong for another, which then says so itself.
    if (refusals.every((refusal) => refusal !== undefined)) throw refusals[0];
  }
  for (const { name, place, entries: own } of sections) {
    const command = commands.get(name);
    if (command === undefined) {
      const meant = nearest(name, [...commands.keys()]);
      throw mistake(place, `has a section for "${name}", which is no command`, {
        expected: meant ?? [...commands.keys()].join(', '),
        ...(meant === undefined ? {} : { hint: `Did you mean ${meant}?` }),
      });
    }
    const settings = settingsOf(command);
    for (const entry of own) {
      const setting = settings.find(({ key }) => key === entry.key);
      if (setting === undefined)
        throw unknownKey(
          entry,
          settings.map(({ key }) => key),
          commands,
          name,
        );
      givenBy(file, entry, setting);
    }
  }
}

function unknownKey(
  entry: Entry,
  keys: readonly string[],
  commands: ReadonlyMap<string, Command>,
  section?: string,
): AccelError {
  const place = section === undefined ? '' : ` for ${section}`;
  const camel = entry.key.replace(/^-+/, '').replace(/[-_]([a-zA-Z\d])/g, (_, letter: string) => letter.toUpperCase());
  const meant = keys.includes(camel) ? camel : nearest(entry.key, keys);
  const hint =
    meant !== undefined
      ? `Did you mean ${meant}?`
      : commands.has(entry.key)
        ? `The settings of one command are in ${SECTIONS_KEY}: ${entry.key}:`
        : 'docs/environment.md lists the keys.';
  return mistake(entry.place, `has an unknown key "${entry.key}"${place}`, {
    expected: 'a long flag in camel case',
    found: entry.key,
    hint,
  });
}

function refusalOf(file: FoundFile, entry: Entry, setting: Setting): unknown {
  try {
    givenBy(file, entry, setting);
    return undefined;
  } catch (error) {
    return error;
  }
}

function givenBy(file: FoundFile, { key, place, value }: Entry, setting: Setting): Given {
  const origin = { kind: file.kind, ...place };
  const refuse = (message: string, details: ConstructorParameters<typeof AccelError>[2]): AccelError =>
    refusedValue({ setting, origin }, message, details);
  if (!file.trusted && !PROJECT_FLAGS.has(setting.flag)) {
    throw refuse('may not be set by the file of a project', {
      expected: 'a key that changes the result or the report, see docs/environment.md',
      hint:
        'Whoever wrote the repository wrote this file. ' +
        `Use ${setting.flag}, ${setting.variable} or your own file, or trust this file: ${PROJECT_FILE_VARIABLE}=${file.path}`,
    });
  }
  const made = (one: Given['value']): Given => ({ setting, value: one, origin });
  if (setting.takes === 'switch') {
    const on = typeof value === 'boolean' ? value : typeof value === 'string' ? switchOf(value) : undefined;
    if (on !== undefined) return made(on);
    throw refuse('is no switch', { expected: 'true or false', found: typeof value === 'string' ? value : 'a list' });
  }
  if (typeof value === 'boolean') {
    if (setting.takes === 'optional') return made(value);
    throw refuse('takes a value', {
      expected: setting.option.argChoices?.join(', ') ?? setting.option.flags,
      found: String(value),
    });
  }
  if (typeof value !== 'string' && !setting.repeatable)
    throw refuse('takes one value', {
      expected: 'a text or a number',
      found: 'a list',
      hint: `A list for a command that takes one is below ${SECTIONS_KEY}.`,
    });
  const texts = typeof value === 'string' ? [value] : value;
  if (setting.secret && texts.some((text) => text.includes(':'))) {
    throw refuse('has a password', {
      expected: 'the name of a user, or nothing',
      hint: `Files are copied, backed up and committed. Use docker login, a credential helper, --password-stdin or ${setting.variable}. Key: ${key}.`,
    });
  }
  return made(texts.map((text) => fromFolder(setting, text, dirname(file.path))));
}

/** A path of this machine as seen from the folder of the file. */
function fromFolder({ option }: Setting, text: string, folder: string): string {
  const placeholder = /<([^>]+)>$/.exec(option.flags)?.[1] ?? '';
  if (text === '-' || text === '') return text;
  if (['file', 'dir', 'folder'].includes(placeholder)) return resolve(folder, text);
  if (placeholder !== 'cert:key') return text;
  const parts = text.split(':');
  return parts.length === 2 ? parts.map((part) => resolve(folder, part)).join(':') : text;
}
