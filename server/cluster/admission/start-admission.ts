/** Puts the webhook together: the API of Kubernetes, registries, gates, and the server. */
import { AccelError } from '../../../base/error.ts';
import { hostMatches, registryKey } from '../../config/image-match.ts';
import { hostAndPort, milliseconds } from '../../config/schema.ts';
import type { RoleContext } from '../../role.ts';
import { AdmissionMetrics } from '../../telemetry/admission-metrics.ts';
import { Admission } from '../admission.ts';
import { endOf } from '../certificates/certificate-state.ts';
import { SelfCertificates } from '../certificates/self-certificates.ts';
import { kubeAccess } from '../kube/kube-access.ts';
import { KubeClient } from '../kube.ts';
import { type RewriteSettings, rewriteSettings } from '../rewrite/rewrite-settings.ts';
import type { Reason } from '../rewrite.ts';
import { AcceleratedImages } from './accelerated-images.ts';
import { AgentShare } from './agent-share.ts';
import type { BreakerState } from './circuit-breaker.ts';
import { fileCertificates } from './file-certificates.ts';
import { ConversionFinder } from './find-conversion.ts';
import { LabelEvents } from './label-events.ts';
import { LabelledNodes } from './labelled-nodes.ts';
import { ModeBreaker } from './mode-breaker.ts';
import { NamespaceLabels } from './namespace-labels.ts';
import { watchPullFailures } from './pull-failures.ts';
import { PullSecretAnswers } from './pull-secret-answers.ts';
import { RegistryPools } from './registry-pools.ts';
import { type CertificateSource, type ServerCertificate, serveAdmission } from './serve-admission.ts';

/** A running webhook. */
export interface RunningAdmission {
  readonly port: number;
  /** Waits until the Events so far are written. */
  flushed(): Promise<void>;
}

const GAUGE: Readonly<Record<BreakerState, number>> = { closed: 0, trial: 1, open: 2 };
/** Milliseconds between two looks at whether the labels of namespaces and nodes are known, and the same until they are. */
const LOOK_EVERY = 1_000;
const LOOK_AGAIN = 100;

/**
 * Starts the webhook and registers with the lifecycle what ends it. `certificates`: another source than the configuration's.
 * Throws `usage` for a configuration that cannot work.
 */
export async function startAdmission(
  context: RoleContext,
  certificates?: CertificateSource,
): Promise<RunningAdmission> {
  const { config, lifecycle, log } = context;
  const { cluster } = config;
  const access = await kubeAccess(cluster.kubeconfig);
  const client = await KubeClient.open(access);
  lifecycle.started('connections to Kubernetes', () => client.close());
  const namespace = cluster.namespace ?? access.namespace;
  const settings = rewriteSettings(config, namespace);
  const metrics = new AdmissionMetrics(context.metrics);
  const source = certificates ?? (await configuredCertificates(context, { client, namespace, metrics }));
  lifecycle.started('certificates', () => source.close());
  const noteEnd = ({ cert }: ServerCertificate) => metrics.certificateEnd.set(endOf(cert) / 1000);
  noteEnd(source.current);
  source.onChange(noteEnd);
  const onRestart = (resource: string) => (reason: string) => metrics.watchRestarts.inc({ resource, reason });
  const gates = startGates(context, { client, settings, metrics, namespace });
  const namespaces = new NamespaceLabels(client, settings.modeLabel, { log, onRestart: onRestart('namespaces') });
  lifecycle.started('namespaces', () => namespaces.close());
  const pools = new RegistryPools(config.registries);
  lifecycle.started('connections to registries', () => pools.close());
  const images = new AcceleratedImages({
    pools,
    finder: new ConversionFinder(settings.suffixes),
    staleness: milliseconds(cluster.onDemand.staleness),
    onLookup: (outcome, seconds) => {
      metrics.lookups.inc({ outcome });
      metrics.lookupSeconds.observe(seconds);
    },
  });
  lifecycle.started('lookups', () => images.close());
  const events = new LabelEvents(client, { log, onOutcome: (outcome) => metrics.events.inc({ outcome }) });
  lifecycle.started('events', () => events.flushed());
  const hosts = [...settings.hosts.keys()];
  const admission = new Admission({
    settings: () => settings,
    images,
    secrets: new PullSecretAnswers(client, (keys) => keys.some((key) => hosts.some((host) => isFor(key, host)))),
    namespaceLabels: (name, signal) => namespaces.find(name, signal),
    off: gates.off,
    events,
    metrics,
    log,
    deadline: milliseconds(cluster.admission.deadline),
  });
  metrics.observe(() => ({ ...images.figures, inFlight: admission.running, ...gates.figures() }));
  const server = await serveAdmission(admission, source, hostAndPort(cluster.admission.listen));
  lifecycle.started('webhook', () => server.close());
  lifecycle.onReload(() => {
    throw new AccelError('usage', 'the role admission reads its configuration at its start', {
      hint: 'Restart it: the other replicas answer meanwhile.',
    });
  });
  watchReadiness({ namespaces, nodes: gates.labelled }, lifecycle);
  if (config.registries.length === 0) log('no registries are configured: no image is rewritten');
  log(`webhook at https://${cluster.admission.listen.replace(/:\d+$/, '')}:${server.port}`);
  return { port: server.port, flushed: () => events.flushed() };
}

interface GateParts {
  readonly client: KubeClient;
  readonly settings: RewriteSettings;
  readonly metrics: AdmissionMetrics;
  readonly namespace: string | undefined;
}

/** The breakers, which kubelets' Events open, and the share of nodes with a ready agent. */
function startGates({ config, lifecycle, log }: RoleContext, { client, settings, metrics, namespace }: GateParts) {
  const { breaker, p2p, onDemand } = config.cluster;
  const breakerOf = (mode: string) =>
    new ModeBreaker({
      failures: breaker.failures,
      window: milliseconds(breaker.window),
      cooldown: milliseconds(breaker.cooldown),
      onChange: (state, name) => {
        const where = name === undefined ? 'everywhere' : `in the namespace ${name}`;
        log(`rewriting for ${mode} ${where}: ${state === 'open' ? 'stopped, its images cannot be pulled' : state}`);
      },
    });
  const breakers = { 'on-demand': breakerOf('on-demand'), p2p: breakerOf('p2p') };
  const failures = watchPullFailures(
    client,
    settings,
    ({ mode, pod, namespace: of }) => {
      metrics.pullFailures.inc({ mode });
      breakers[mode].failed(pod, of);
    },
    { log, onRestart: (reason) => metrics.watchRestarts.inc({ resource: 'events', reason }) },
  );
  lifecycle.started('failures of pulls', () => failures.close());
  const { service } = p2p.agents;
  const share =
    service === undefined
      ? undefined
      : new AgentShare(client, {
          namespace: p2p.agents.namespace ?? namespace ?? 'default',
          service,
          nodeSelector: p2p.agents.nodeSelector,
          share: p2p.agents.share,
          log,
          onRestart: (resource, reason) => metrics.watchRestarts.inc({ resource, reason }),
        });
  if (share !== undefined) lifecycle.started('share of agents', () => share.close());
  const labelled = new LabelledNodes(client, settings.nodeLabel, {
    log,
    onRestart: (reason) => metrics.watchRestarts.inc({ resource: 'nodes', reason }),
  });
  lifecycle.started('labelled nodes', () => labelled.close());
  const isOpen = (mode: keyof typeof breakers, of: string): Reason | undefined =>
    breakers[mode].isOpen(of) ? 'circuit-open' : undefined;
  return {
    labelled,
    off: (of: string) => ({
      onDemand:
        onDemand.withoutNode === 'keep' && labelled.count === 0
          ? ('no-labelled-node' as const)
          : isOpen('on-demand', of),
      p2p: share?.isEnough === false ? ('agents-not-ready' as const) : isOpen('p2p', of),
    }),
    figures: () => ({
      breakers: Object.fromEntries(Object.entries(breakers).map(([mode, { state }]) => [mode, GAUGE[state]])),
      agents: share?.figures,
      labelledNodes: labelled.count,
    }),
  };
}

/** The files of the configuration, or certificates that it makes itself; resolves when there is one to serve. */
async function configuredCertificates(
  { config, lifecycle, log }: RoleContext,
  { client, namespace, metrics }: Omit<GateParts, 'settings'>,
): Promise<CertificateSource> {
  const { certFile, keyFile, certificate } = config.cluster.admission;
  if (certFile !== undefined && keyFile !== undefined) return fileCertificates({ certFile, keyFile }, log);
  if (namespace === undefined) {
    throw new AccelError('usage', 'the Secret of the webhook has no namespace', {
      where: { key: 'cluster.namespace' },
      expected: 'the namespace of the Secret, or cluster.admission.certFile and keyFile',
    });
  }
  const { secret, webhook, lifetime, authorityLifetime } = certificate;
  const certificates = new SelfCertificates(client, {
    ...{ namespace, secret, webhook, log },
    lifetime: milliseconds(lifetime),
    authorityLifetime: milliseconds(authorityLifetime),
    onProblem: (reason) => lifecycle.setDegraded('certificates', reason === undefined ? [] : [reason]),
    onRestart: (resource, reason) => metrics.watchRestarts.inc({ resource, reason }),
  });
  try {
    await certificates.ready(lifecycle.draining);
    return certificates;
  } catch (error) {
    await certificates.close();
    throw error;
  }
}

/** Whether an entry of a pull secret may be for a registry; globs of hosts count. */
function isFor(key: string, host: string): boolean {
  return hostMatches(registryKey(key).host, host);
}

interface Watched {
  readonly namespaces: NamespaceLabels;
  readonly nodes: LabelledNodes;
}

function watchReadiness(watched: Watched, lifecycle: RoleContext['lifecycle']): void {
  const { problem } = watched.namespaces;
  // While the API is away the labels that are known still count: only before the first list nothing is known.
  lifecycle.setReady('namespaces', problem?.includes('not read yet') === true ? problem : undefined);
  lifecycle.setReady('nodes', watched.nodes.isSynced ? undefined : 'the labels of nodes are not read yet');
  if (lifecycle.draining.aborted) return;
  const wait = lifecycle.unready().length === 0 ? LOOK_EVERY : LOOK_AGAIN;
  setTimeout(() => watchReadiness(watched, lifecycle), wait).unref();
}
