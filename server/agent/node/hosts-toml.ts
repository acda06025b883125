/** Puts the agent first in a `hosts.toml` of containerd, and keeps what the file says already. */
import { posix } from 'node:path';
import { isRecord } from '../../../base/is-record.ts';
import { ownBlock } from './own-block.ts';
import { parseToml, tomlString, topLevelLines } from './toml-text.ts';

/** Time for the connection to the agent: on loopback it is there at once or not at all. */
const DIAL_TIMEOUT = '200ms';

/** The agent and the registry that is asked after it. */
export interface HostsTarget {
  /** `http://127.0.0.1:65001`. */
  readonly agent: string;
  /** URL of Spegel's mirror, which is asked before the agent. */
  readonly spegel?: string | undefined;
  /** URL of the registry, which is asked when the agent does not answer. */
  readonly server: string;
  /** PEM file of authorities for it. */
  readonly ca?: string | undefined;
  /** Files of certificates that containerd finds by itself as long as there is no hosts.toml. */
  readonly found?: CertificateFiles | undefined;
}

/** Certificates beside a hosts.toml. */
export interface CertificateFiles {
  readonly ca: readonly string[];
  readonly client: readonly (readonly [certificate: string, key: string])[];
}

/** The text of a hosts.toml with the agent first; `text` is what is there now. Fails with `io-error` for a text that is no TOML. */
export function withAgentFirst(text: string | undefined, target: HostsTarget, file: string): string {
  const own = [...(target.spegel === undefined ? [] : [target.spegel]), target.agent];
  const agent = own.flatMap((host, at) => [
    ...(at === 0 ? [] : ['']),
    `[host.${tomlString(host)}]`,
    '  capabilities = ["pull", "resolve"]',
    `  dial_timeout = ${tomlString(DIAL_TIMEOUT)}`,
  ]);
  if (text === undefined)
    return ownBlock([`server = ${tomlString(target.server)}`, ...authorities(target), '', ...agent]);
  if (hostsIn(text, file).includes(target.agent)) return text;
  const lines = topLevelLines(text);
  const header = lines.findIndex((line) => line.header !== undefined);
  let first = header < 0 ? lines.length : header;
  // Comments right above a header belong to it.
  while (header > 0 && /^\s*#/.test(lines[first - 1]?.text ?? '')) first--;
  const [above, below] = [joined(lines.slice(0, first)), joined(lines.slice(first))];
  const start = above === '' || above.endsWith('\n') ? above : `${above}\n`;
  const edited = start + ownBlock(agent) + below;
  parseToml(edited, file);
  return edited;
}

/** The hosts of a hosts.toml, in the order in which containerd asks them. */
export function hostsIn(text: string, file: string): readonly string[] {
  const { host } = parseToml(text, file);
  const named = isRecord(host) ? Object.keys(host) : [];
  const byPlace = topLevelLines(text).flatMap(({ header }) =>
    header?.[0] === 'host' && header[1] !== undefined ? [header[1]] : [],
  );
  return [...new Set([...byPlace, ...named])];
}

/** The text of a file for another folder: paths that are relative to the first become absolute. */
export function movedHosts(text: string, folder: string, file: string): string {
  const relative = new Set<string>();
  const visit = (value: unknown, key: string): void => {
    if (typeof value === 'string' && (key === 'ca' || key === 'client') && !value.startsWith('/')) relative.add(value);
    else if (Array.isArray(value)) for (const item of value) visit(item, key);
    else if (isRecord(value)) for (const [name, inner] of Object.entries(value)) visit(inner, name);
  };
  visit(parseToml(text, file), '');
  return [...relative].reduce(
    (current, path) =>
      current
        .replaceAll(`"${path}"`, tomlString(posix.join(folder, path)))
        .replaceAll(`'${path}'`, tomlString(posix.join(folder, path))),
    text,
  );
}

function authorities({ ca, found }: HostsTarget): readonly string[] {
  const cas = [...(ca === undefined ? [] : [ca]), ...(found?.ca ?? [])];
  const pairs = (found?.client ?? []).map((pair) => `[${pair.map(tomlString).join(', ')}]`);
  return [
    ...(cas.length === 0 ? [] : [`ca = [${cas.map(tomlString).join(', ')}]`]),
    ...(pairs.length === 0 ? [] : [`client = [${pairs.join(', ')}]`]),
  ];
}

function joined(lines: readonly { readonly text: string }[]): string {
  return lines.map(({ text }) => text).join('');
}
