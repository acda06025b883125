/** Hands the agent what it needs of the room of Kubernetes: the two do not know each other. The modules are loaded when they are used. */
import type { Counter } from 'prom-client';
import type { ClusterParts } from './agent/cluster-parts.ts';
import type { Metrics } from './telemetry/metrics.ts';

/** The parts for an agent; `metrics`: where restarts of the watch are counted. */
export function agentInCluster(metrics?: Metrics): ClusterParts {
  return {
    members: async (settings) => {
      const { PeerSlices } = await import('./cluster/peer-slices.ts');
      const restarts: Counter | undefined = metrics?.counter({
        name: 'kube_watch_restarts_total',
        help: 'Watches of the API of Kubernetes that began again, by resource and reason.',
        labels: ['resource', 'reason'],
      });
      const onRestart = (reason: string) => restarts?.inc({ resource: 'endpointslices', reason });
      return PeerSlices.open({ ...settings, onRestart });
    },
    certificates: async (settings) => {
      const { CertificateRequests } = await import('./cluster/certificate-requests.ts');
      return CertificateRequests.open(settings);
    },
  };
}
