/**
 * The names by which images are pulled through the agent of a node: `X.REST` becomes `X.distributed.REST:PORT`. Admission writes them
 * into pods, node setup into the files of runtimes, and the agent answers them.
 */

/** Whether `-vpc` stays in the name; the vendors' documents have both, and the agent answers both. */
export type HostForm = 'keep-vpc' | 'drop-vpc';

/**
 * The registries whose host may have been rewritten to `X.distributed.REST`: `X.REST`, and `X-vpc.REST`, because some rewrite
 * leaves `-vpc` out. Empty for other names.
 */
export function originalHosts(host: string | undefined): readonly string[] {
  const match = /^([^.:]+)\.distributed\.([^:]+)(?::\d+)?$/i.exec(host ?? '');
  if (match === null) return [];
  const [, name = '', rest = ''] = match;
  return name.toLowerCase().endsWith('-vpc') ? [`${name}.${rest}`] : [`${name}.${rest}`, `${name}-vpc.${rest}`];
}

/**
 * The names by which images of a registry are pulled through the agent: `X.distributed.REST:PORT`, and for `X-vpc.REST` also
 * the form without `-vpc`. Empty for a registry with a port, and for one that is no domain name.
 */
export function mappedHosts(host: string, port: number): readonly string[] {
  const match = /^([^.:]+)\.([^:]*[a-z][^:]*)$/i.exec(host);
  if (match === null) return [];
  const [, name = '', rest = ''] = match;
  const short = name.replace(/-vpc$/i, '');
  return [...new Set([name, short])].map((first) => `${first}.distributed.${rest}:${port}`);
}

/** The one name that pods get; undefined where {@link mappedHosts} has none. */
export function mappedHost(host: string, port: number, form: HostForm): string | undefined {
  const names = mappedHosts(host, port);
  return form === 'keep-vpc' ? names[0] : names.at(-1);
}

/** Names by the table of the configuration (`cluster.p2p.hosts`), by the host of the registry, whichever of Docker Hub's names it has. */
export function namedHosts(table: Readonly<Record<string, string>>): (host: string) => string | undefined {
  const names = new Map(Object.entries(table).map(([host, name]) => [sameHost(host), name]));
  return (host) => names.get(sameHost(host));
}

function sameHost(host: string): string {
  const lower = host.toLowerCase();
  return lower === 'registry-1.docker.io' || lower === 'index.docker.io' ? 'docker.io' : lower;
}
