/** Takes the settings of the rewriting out of the configuration. */
import { VERSION } from '../../../base/version.ts';
import { parseRepository } from '../../../oci/reference.ts';
import { mappedHost, mappedHosts, namedHosts } from '../../config/p2p-names.ts';
import type { Config } from '../../config/schema.ts';

/** Settings of the rewriting. */
export interface RewriteSettings {
  /** Label of pods and namespaces. */
  readonly modeLabel: string;
  /** Label of nodes that can run accelerated images. */
  readonly nodeLabel: string;
  readonly annotations: { readonly mode: string; readonly p2pConfig: string };
  /** Namespaces whose pods stay as they are. */
  readonly excluded: ReadonlySet<string>;
  /** Registries whose images change: hosts of their APIs. */
  readonly registries: ReadonlySet<string>;
  readonly suffixes: readonly string[];
  readonly port: number;
  /** The host by which images of a registry go through the agents, by the registry's; those without one are not in it. */
  readonly hosts: ReadonlyMap<string, string>;
  /** All hosts that are names of agents. */
  readonly mapped: ReadonlySet<string>;
  readonly withoutSecret: 'rewrite' | 'keep';
  readonly version: string;
}

/** Takes the settings out of the configuration. `namespace`: the release's own. */
export function rewriteSettings(config: Config, namespace: string | undefined): RewriteSettings {
  const { labels, annotations, excludedNamespaces, onDemand, p2p } = config.cluster;
  const written = config.registries.map(({ host }) => host);
  const nameOf = namedHosts(p2p.hosts);
  const hosts = new Map<string, string>();
  const mapped = new Set<string>(Object.values(p2p.hosts));
  for (const host of written) {
    const registry = canonicalHost(host);
    const name = nameOf(host) ?? mappedHost(host, p2p.port, p2p.hostForm);
    if (name !== undefined) hosts.set(registry, name);
    for (const other of mappedHosts(host, p2p.port)) mapped.add(other);
  }
  return {
    modeLabel: labels.mode,
    nodeLabel: labels.node,
    annotations,
    excluded: new Set([...excludedNamespaces, 'kube-system', ...(namespace === undefined ? [] : [namespace])]),
    registries: new Set(written.map(canonicalHost)),
    suffixes: onDemand.suffixes,
    port: p2p.port,
    hosts,
    mapped,
    withoutSecret: p2p.withoutSecret,
    version: VERSION,
  };
}

/** The host of a registry's API, as parsed references have it. */
function canonicalHost(host: string): string {
  const reference = parseRepository(`${host}/x`);
  return reference.kind === 'registry' ? reference.registry : host;
}
