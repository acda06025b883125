/** Metrics of the controller, `accel_controller_*`. */
import type { Counter } from 'prom-client';
import type { Metrics } from './metrics.ts';

/** Figures that are asked for with the metrics. */
export interface ControllerGauges {
  readonly isLeader: boolean;
  /** Secrets that wait for their copy. */
  readonly waiting: number;
  /** Nodes with the label of those that run accelerated images. */
  readonly labelled: number;
  /** Requests of agents for certificates that have no answer. */
  readonly requests: number;
  /** When the authority that signs for agents ends, in seconds since 1970; 0 without one. */
  readonly authorityEnd: number;
}

/** All metrics of one process that may lead. */
export class ControllerMetrics {
  readonly #metrics: Metrics;
  /** Looks at copies of pull secrets that changed something or failed, by outcome. */
  readonly copies: Counter;
  /** Writes of the secret of the devices, by outcome. */
  readonly deviceSecrets: Counter;
  /** Changes of nodes' labels, by outcome. */
  readonly nodeLabels: Counter;
  /** Questions to agents about their nodes, by what they said. */
  readonly agentLooks: Counter;
  /** Answers to agents that asked for a certificate, by outcome. */
  readonly agentCertificates: Counter;
  /** Watches that began again, by resource and reason. */
  readonly watchRestarts: Counter;

  constructor(metrics: Metrics) {
    this.#metrics = metrics;
    this.copies = metrics.counter({
      name: 'controller_secret_copies_total',
      help: 'Copies of pull secrets that were made, changed, removed, could not be made, or belong to somebody else.',
      labels: ['outcome'],
    });
    this.deviceSecrets = metrics.counter({
      name: 'controller_device_secrets_total',
      help: 'Writes of the secret with which lazily loaded devices read, by outcome.',
      labels: ['outcome'],
    });
    this.nodeLabels = metrics.counter({
      name: 'controller_node_labels_total',
      help: 'Changes of the label of nodes that can run accelerated images, by outcome.',
      labels: ['outcome'],
    });
    this.agentLooks = metrics.counter({
      name: 'controller_agent_looks_total',
      help: 'Questions to agents whether accelerated images can run on their nodes, by answer; silent: none.',
      labels: ['answer'],
    });
    this.agentCertificates = metrics.counter({
      name: 'controller_agent_certificates_total',
      help: 'Answers to agents that asked for a certificate: signed, denied, or failed and tried again.',
      labels: ['outcome'],
    });
    this.watchRestarts = metrics.counter({
      name: 'kube_watch_restarts_total',
      help: 'Watches of the API of Kubernetes that began again, by resource and reason.',
      labels: ['resource', 'reason'],
    });
  }

  /** Registers the figures that are asked for with the metrics. */
  observe(figures: () => ControllerGauges): void {
    const leader = this.#metrics.gauge({ name: 'controller_leader', help: 'Whether this process leads: 1 or 0.' });
    const waiting = this.#metrics.gauge({
      name: 'controller_secrets_waiting',
      help: 'Secrets that wait to be brought in order.',
    });
    const labelled = this.#metrics.gauge({
      name: 'controller_labelled_nodes',
      help: 'Nodes with the label of those that run accelerated images, as the process that leads sees them.',
    });
    const requests = this.#metrics.gauge({
      name: 'controller_agent_requests_waiting',
      help: 'Requests of agents for a certificate that have no answer, as the process that leads sees them.',
    });
    const authorityEnd = this.#metrics.gauge({
      name: 'controller_agent_authority_end_seconds',
      help: 'When the authority that signs for agents ends, since 1970; 0 where this process signs nothing.',
    });
    Object.assign(leader, {
      collect: () => {
        const found = figures();
        leader.set(found.isLeader ? 1 : 0);
        waiting.set(found.waiting);
        labelled.set(found.labelled);
        requests.set(found.requests);
        authorityEnd.set(found.authorityEnd);
      },
    });
  }
}
