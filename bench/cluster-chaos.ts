/**
 * Chaos in a cluster for as long as wanted: `npm run bench:cluster-chaos -- --minutes 10 --seed 1`. The webhook, the controllers, the API server, etcd
 * and the registry are killed in an order that the seed gives, and the webhook hangs, while pods are made. Exit code 1 where a pod is missing,
 * an image cannot be pulled, a copy of a secret is wrong, or an accelerated image was used for too long after its tag had moved.
 */
import { parseArgs } from 'node:util';
import { runChaos } from '../server/cluster/testing/cluster-chaos.ts';
import { findKubeTool } from '../server/cluster/testing/kube-cluster.ts';
import { machine } from './machine.ts';

const { values } = parseArgs({
  options: { minutes: { type: 'string', default: '10' }, seed: { type: 'string', default: '1' } },
});

const TOOLS = ['etcd', 'kube-apiserver', 'kube-controller-manager', 'kubectl', 'docker-registry', 'skopeo', 'htpasswd'];
const missing = TOOLS.filter((tool) => findKubeTool(tool) === undefined);
if (missing.length > 0) {
  process.stderr.write(`skipped: ${missing.join(', ')} is not on this machine\n`);
  process.exit(0);
}

const started = performance.now();
const say = (line: string) => process.stderr.write(`${((performance.now() - started) / 1000).toFixed(1)} s: ${line}\n`);
const report = await runChaos({
  duration: Number(values.minutes) * 60_000,
  seed: Number(values.seed),
  makers: 4,
  rest: 500,
  longestDown: 6_000,
  longestPause: 5_000,
  log: say,
});
const { faults, made, pulls, violations } = report;
process.stdout.write(
  `${JSON.stringify({ minutes: values.minutes, seed: values.seed, faults, made, pulls, violations }, undefined, 2)}\n${machine()}\n`,
);
process.exit(violations.length > 0 ? 1 : 0);
