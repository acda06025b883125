/** Puts the controller together: one of its processes leads, and keeps copies of secrets, the secret of the devices and labels of nodes. */
import { hostname } from 'node:os';
import { AccelError } from '../../../base/error.ts';
import { milliseconds } from '../../config/schema.ts';
import type { RoleContext } from '../../role.ts';
import { ControllerMetrics } from '../../telemetry/controller-metrics.ts';
import { kubeAccess } from '../kube/kube-access.ts';
import { LeaderElection } from '../kube/leader-election.ts';
import { KubeClient } from '../kube.ts';
import { rewriteSettings } from '../rewrite/rewrite-settings.ts';
import { SecretCopies } from './copy-secrets.ts';
import { DeviceSecret } from './device-secret.ts';
import { type NodeLabelOptions, NodeLabels } from './node-labels.ts';
import { SecretEvents } from './secret-events.ts';
import { AgentSigner } from './sign-agents.ts';

/** A running controller. */
export interface RunningController {
  /** Whether this process leads. */
  readonly isLeader: boolean;
}

/** Milliseconds between two looks at what does not work. */
const LOOK_EVERY = 1_000;

/** The work of the leader while it leads. */
interface Work {
  readonly copies: SecretCopies;
  readonly devices: DeviceSecret;
  /** Undefined without a Service of agents. */
  readonly nodes: NodeLabels | undefined;
  /** Undefined where agents have certificates of somebody else. */
  readonly signer: AgentSigner | undefined;
}

/** Starts the controller and registers with the lifecycle what ends it. Throws `usage` for a configuration that cannot work. */
export async function startController(context: RoleContext): Promise<RunningController> {
  const { config, lifecycle, log } = context;
  const { cluster } = config;
  const access = await kubeAccess(cluster.kubeconfig);
  const namespace = cluster.namespace ?? access.namespace;
  if (namespace === undefined) {
    throw new AccelError('usage', 'the controller needs a namespace of its own', {
      where: { key: 'cluster.namespace' },
      expected: 'the namespace of its lease and of the secret of the devices',
    });
  }
  const client = await KubeClient.open(access);
  lifecycle.started('connections to Kubernetes', () => client.close());
  const metrics = new ControllerMetrics(context.metrics);
  let work: Work | undefined;
  const election = new LeaderElection(client, {
    namespace,
    name: cluster.controller.lease,
    identity: `${process.env.HOSTNAME ?? hostname()}-${process.pid}`,
    log,
    lead: async (signal) => {
      const events = new SecretEvents(client, log);
      work = startWork(context, { client, metrics, namespace, events });
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
      const { copies, devices, nodes, signer } = work;
      work = undefined;
      await Promise.all([copies.close(), devices.close(), nodes?.close(), signer?.close()]);
      await events.close();
    },
  });
  lifecycle.started('election', () => election.close());
  metrics.observe(() => ({
    isLeader: election.isLeader,
    waiting: work?.copies.waiting ?? 0,
    labelled: work?.nodes?.labelled ?? 0,
    requests: work?.signer?.waiting ?? 0,
    authorityEnd: (work?.signer?.authorityEnd ?? 0) / 1000,
  }));
  const look = (): void => {
    const parts = [work?.copies, work?.devices, work?.nodes, work?.signer];
    const problems = parts.flatMap((part) => part?.problem ?? []);
    lifecycle.setDegraded('controller', problems);
    if (!lifecycle.draining.aborted) setTimeout(look, LOOK_EVERY).unref();
  };
  look();
  const { namespaces, clusterWide } = cluster.secrets;
  if (!clusterWide && namespaces.length === 0) log('no namespace is enabled: no secret is read or copied');
  return {
    get isLeader() {
      return election.isLeader;
    },
  };
}

interface Parts {
  readonly client: KubeClient;
  readonly metrics: ControllerMetrics;
  readonly namespace: string;
  readonly events: SecretEvents;
}

function startWork({ config, log }: RoleContext, { client, metrics, namespace, events }: Parts): Work {
  const { cluster } = config;
  const { hosts, modeLabel, excluded } = rewriteSettings(config, namespace);
  const common = {
    scope: cluster.secrets,
    onRestart: (resource: string, reason: string) => metrics.watchRestarts.inc({ resource, reason }),
    complain: events.complain.bind(events),
    log,
  };
  return {
    copies: new SecretCopies(client, {
      ...common,
      hosts,
      modeLabel,
      excluded,
      onOutcome: (outcome) => metrics.copies.inc({ outcome }),
    }),
    devices: new DeviceSecret(client, {
      ...common,
      label: cluster.labels.secret,
      target: { namespace, name: cluster.controller.deviceSecret },
      onOutcome: (outcome) => metrics.deviceSecrets.inc({ outcome }),
    }),
    nodes: startNodeLabels(cluster, { client, metrics, namespace }, common),
    signer: startSigner(cluster.controller.agentCertificates, { client, metrics, namespace }, common),
  };
}

function startSigner(
  settings: RoleContext['config']['cluster']['controller']['agentCertificates'],
  { client, metrics, namespace }: Omit<Parts, 'events'>,
  { onRestart, log }: Pick<NodeLabelOptions, 'onRestart' | 'log'>,
): AgentSigner | undefined {
  const { signer, account, secret, renewAuthority: renews, lifetime, authorityLifetime } = settings;
  if (signer === undefined) return undefined;
  return new AgentSigner(client, {
    namespace,
    signer,
    account,
    secret,
    renews,
    lifetimes: { leaf: milliseconds(lifetime), authority: milliseconds(authorityLifetime) },
    onOutcome: (outcome) => metrics.agentCertificates.inc({ outcome }),
    onRestart,
    log,
  });
}

function startNodeLabels(
  { controller, labels, p2p }: RoleContext['config']['cluster'],
  { client, metrics, namespace }: Omit<Parts, 'events'>,
  { onRestart, log }: Pick<NodeLabelOptions, 'onRestart' | 'log'>,
): NodeLabels | undefined {
  const { service } = p2p.agents;
  if (service === undefined) return undefined;
  return new NodeLabels(client, {
    label: labels.node,
    agents: controller.labelNodes ? { namespace: p2p.agents.namespace ?? namespace, service } : undefined,
    every: milliseconds(controller.askAgentsEvery),
    onLook: (answer) => metrics.agentLooks.inc({ answer }),
    onOutcome: (outcome) => metrics.nodeLabels.inc({ outcome }),
    onRestart,
    log,
  });
}
