/** Sends the pulls of CRI-O and podman (containers-image) to the agent first: a file of our own in registries.conf.d. */
import { posix } from 'node:path';
import { stringify } from 'smol-toml';
import { isRecord } from '../../../base/is-record.ts';
import { ownBlock } from './own-block.ts';
import type { SetupContext, SetupRegistry } from './setup-context.ts';
import { parseToml } from './toml-text.ts';

const MAIN = '/etc/containers/registries.conf';
const FOLDER = '/etc/containers/registries.conf.d';
/** Files are read in the order of their names, and the last one that names a registry decides. */
const OWN = 'zzz-accel-agent.conf';

/** The file that setup makes. */
export const OWN_REGISTRIES_CONF = posix.join(FOLDER, OWN);

/** A `[[registry]]`, with the file that it comes from. */
interface Entry {
  readonly table: Readonly<Record<string, unknown>>;
  readonly prefix: string;
  readonly file: string;
}

/** Sets containers-image up, where it is installed. */
export async function setupRegistriesConf(context: SetupContext): Promise<void> {
  const { files, target, problems } = context;
  if (!(await files.exists('/etc/containers')) && !(await context.hasProgram('podman', 'crio'))) return;
  const entries = new Map<string, Entry>();
  const names = (await files.list(FOLDER)).filter((name) => name.endsWith('.conf') && name !== OWN);
  for (const file of [MAIN, ...names.map((name) => posix.join(FOLDER, name))]) {
    const text = await context.text(file);
    const document = text === undefined ? {} : parseToml(text, file);
    if (isOldForm(document)) {
      problems.push(
        `${file} has the old form ([registries.search]), which takes no mirrors: podman and CRI-O are not set up`,
      );
      return;
    }
    for (const table of Array.isArray(document.registry) ? document.registry : []) {
      const entry = isRecord(table) ? entryOf(table, file) : undefined;
      if (entry !== undefined) entries.set(entry.prefix, entry);
    }
  }
  const own = target.registries.flatMap((registry) => ownEntries(context, registry, entries));
  const later = names.filter((name) => name > OWN).map((name) => posix.join(FOLDER, name));
  for (const { file, prefix } of entries.values()) {
    if (later.includes(file) && own.some((table) => (table.prefix ?? table.location) === prefix)) {
      problems.push(`${file} is read after ${OWN} and names ${prefix}: rename it`);
    }
  }
  if (own.length === 0) return;
  const text = ownBlock(stringify({ registry: own }).trimEnd().split('\n'));
  const service = (await context.hasProgram('crio')) ? { service: 'crio' } : {};
  await context.apply({ path: OWN_REGISTRIES_CONF, kind: 'toml', ...service, apply: () => ({ text }) });
}

/** Version 1 of the form, which cannot be mixed with version 2. */
function isOldForm({ registries }: Record<string, unknown>): boolean {
  return isRecord(registries) && ['search', 'insecure', 'block'].some((key) => isRecord(registries[key]));
}

function entryOf(table: Record<string, unknown>, file: string): Entry | undefined {
  const prefix = table.prefix ?? table.location;
  return typeof prefix === 'string' ? { table, prefix, file } : undefined;
}

/** The entries of one registry: its own, and one for each part of it that has settings already, which are kept. */
function ownEntries(
  { target, notes }: SetupContext,
  { host, plain }: SetupRegistry,
  entries: ReadonlyMap<string, Entry>,
): readonly Record<string, unknown>[] {
  const agent = new URL(target.agent).host;
  const isOnly = target.registries.length === 1;
  if (host.includes(':') && !isOnly) {
    notes.push(
      `podman and CRI-O cannot name ${host} at the agent, because it has a port and is not the only registry: they pull directly`,
    );
    return [];
  }
  const related = [...entries.values()].filter(({ prefix }) => prefix === host || prefix.startsWith(`${host}/`));
  const isNamed = related.some(({ prefix }) => prefix === host);
  const wildcard = [...entries.values()]
    .filter(({ prefix }) => prefix.startsWith('*.') && host.endsWith(prefix.slice(1)))
    .sort((a, b) => b.prefix.length - a.prefix.length)[0];
  const general: Pick<Entry, 'table' | 'prefix'> = {
    table: { ...wildcard?.table, prefix: host, location: host, ...(plain ? { insecure: true } : {}) },
    prefix: host,
  };
  return [...(isNamed ? [] : [general]), ...related].flatMap(({ table, prefix }) => {
    const location = typeof table.location === 'string' ? table.location : prefix;
    // A registry that is itself reached under another name is not the agent's.
    if (location !== host && !location.startsWith(`${host}/`)) return [];
    const mirror = {
      location: host.includes(':') ? agent + location.slice(host.length) : `${agent}/${location}`,
      insecure: true,
    };
    const others = Array.isArray(table.mirror) ? table.mirror : [];
    const foreign = others.filter((other) => !isRecord(other) || other.location !== mirror.location);
    return [{ ...table, mirror: [mirror, ...foreign] }];
  });
}
