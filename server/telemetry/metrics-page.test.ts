/** docs/metrics.md, the dashboard and the alert rules name the metrics that exist, and all of them. */
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { describeWith, run, withTempDirectory } from '../../tests/support/tools.ts';
import { AdmissionMetrics } from './admission-metrics.ts';
import { type AgentGauges, AgentMetrics } from './agent-metrics.ts';
import { ControllerMetrics } from './controller-metrics.ts';
import { formatDadiMetrics } from './dadi-exposition.ts';
import { createMetrics } from './metrics.ts';
import { type QueueGauges, ServiceMetrics } from './service-metrics.ts';

const ROOT = join(import.meta.dirname, '../..');
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

const metrics = createMetrics('agent');
new AgentMetrics(metrics).observe(new Proxy({}, { get: () => () => 0 }) as AgentGauges);
const serviceMetrics = createMetrics('service');
new ServiceMetrics(serviceMetrics).observe(async () => ({}) as QueueGauges);

const admissionMetrics = createMetrics('admission');
new AdmissionMetrics(admissionMetrics).observe(() => ({}) as never);
const controllerMetrics = createMetrics('controller');
new ControllerMetrics(controllerMetrics).observe(() => ({}) as never);

interface Registered {
  readonly name: string;
  readonly type: string;
  readonly labelNames: readonly string[];
}

const registeredIn = ({ registry }: typeof metrics): Registered[] =>
  registry.getMetricsAsArray().map((metric) => metric as unknown as Registered);
const registered = registeredIn(metrics);
const ofService = registeredIn(serviceMetrics);
const ofCluster = [
  ...registeredIn(admissionMetrics),
  // The webhook and the controller both follow the API.
  ...registeredIn(controllerMetrics).filter(({ name }) => name !== 'accel_kube_watch_restarts_total'),
];
const COMMON = ['accel_build_info', 'accel_ended_connections_total'];
const PARTS = [
  { part: 'accel-agent', known: registered },
  { part: 'accel-service', known: ofService },
];

/** The files of rules; that of the cluster has no dashboard. */
const RULES = [...PARTS, { part: 'accel-cluster', known: [...ofCluster, ...registeredIn(controllerMetrics)] }];

/** For each alert of the newest metrics: what a Prometheus scrapes, minute by minute, and the values without a reason to say something. */
const FIRING: readonly {
  readonly alert: string;
  readonly series: string;
  readonly bad: string;
  readonly good: string;
}[] = [
  { alert: 'AccelAgentUnreachable', series: 'accel_agent_alone', bad: '1x60', good: '0x60' },
  { alert: 'AccelAgentCacheOff', series: 'accel_agent_cache_off', bad: '1x60', good: '0x60' },
  { alert: 'AccelAgentCertificateEnds', series: 'accel_agent_certificate_end_seconds', bad: '260000x60', good: '0x60' },
  { alert: 'AccelAgentMembersOld', series: 'accel_agent_members_age_seconds', bad: '601x60', good: '90x60' },
  { alert: 'AccelAgentHung', series: 'accel_agent_worker_restarts_total{reason="hung"}', bad: '0+1x60', good: '3x60' },
  { alert: 'AccelAgentRefusesPeers', series: 'accel_agent_refused_handshakes_total', bad: '0+60x60', good: '0+1x60' },
  { alert: 'AccelClusterRoleDown', series: 'up{job="accel-controller"}', bad: '0x60', good: '1x60' },
  { alert: 'AccelAdmissionStopped', series: 'accel_admission_breaker{mode="p2p"}', bad: '2x60', good: '0x60' },
  {
    alert: 'AccelAdmissionCertificateEnds',
    series: 'accel_admission_certificate_end_seconds',
    bad: '600000x60',
    good: '9999999x60',
  },
  { alert: 'AccelControllerWithoutLeader', series: 'accel_controller_leader', bad: '0x60', good: '1x60' },
  {
    alert: 'AccelControllerSecretsFail',
    series: 'accel_controller_secret_copies_total{outcome="failed"}',
    bad: '0+1x60',
    good: '4x60',
  },
  {
    alert: 'AccelAgentsWaitForCertificates',
    series: 'accel_controller_agent_requests_waiting',
    bad: '1x60',
    good: '0x60',
  },
  {
    alert: 'AccelAgentAuthorityEnds',
    series: 'accel_controller_agent_authority_end_seconds',
    bad: '7000000x60',
    good: '0x60',
  },
  {
    alert: 'AccelKubeWatchFails',
    series: 'accel_kube_watch_restarts_total{reason="failed",resource="pods"}',
    bad: '0+2x60',
    good: '0+0x60',
  },
];

/** Metrics of a role, without those of every role. */
const byThemselves = (all: readonly Registered[]): Registered[] =>
  all.filter(({ name }) => !COMMON.includes(name) && name.startsWith('accel_'));

/** The rows of the page's tables about metrics: name, type, labels. */
const rows = read('docs/metrics.md')
  .split('\n')
  .map((line) => line.split('|').map((cell) => cell.trim()))
  .filter(([, name]) => /^`(accel|DADIP2P)_\w+`$/.test(name ?? ''))
  .map(([, name = '', type = '', , labels = '']) => ({
    name: name.replaceAll('`', ''),
    type,
    labels: labels === '' ? [] : labels.split(', '),
  }));

it('the page has each metric of the agent, the service and the roles of a cluster, with its type and labels', () => {
  const own = [...registered, ...byThemselves(ofService), ...byThemselves(ofCluster)]
    .filter(({ name }) => name.startsWith('accel_'))
    .map(({ name, type, labelNames }) => ({ name, type, labels: [...labelNames] }));
  const documented = rows.filter(({ name }) => name.startsWith('accel_'));
  const byName = (a: { name: string }, b: { name: string }) => a.name.localeCompare(b.name);
  expect(documented.toSorted(byName)).toEqual(own.toSorted(byName));
});

it('the page has each metric of the seeds', () => {
  const idle = { bytesPerSecond: 0, requestsPerSecond: 0, longest: 0, total: 0 };
  const text = formatDadiMetrics({ node: 'n', figures: () => idle, cache: { allocated: 1, used: 0 }, time: 1 });
  const printed = [...text.matchAll(/^# TYPE (\w+) (\w+)$/gm)].map(([, name, type]) => `${name} ${type}`);
  const documented = rows.filter(({ name }) => name.startsWith('DADIP2P_')).map(({ name, type }) => `${name} ${type}`);
  expect(documented).toEqual(printed);
});

it.each([
  ...PARTS.map(({ part, known }) => ({ path: `dashboards/${part}.json`, metrics: known })),
  ...RULES.map(({ part, known }) => ({ path: `alerts/${part}.yaml`, metrics: known })),
])('$path reads metrics that exist', ({ path, metrics: existing }) => {
  const named = [...read(path).matchAll(/\b(accel_\w+|DADIP2P_\w+|process_\w+|nodejs_\w+)/g)].map(([name]) => name);
  const known = existing.flatMap(({ name, type }) =>
    type === 'histogram' ? ['_bucket', '_sum', '_count'].map((end) => `${name}${end}`) : [name],
  );
  expect(new Set(named).size).toBeGreaterThan(4);
  expect([...new Set(named)].filter((name) => !known.includes(name))).toEqual([]);
});

it.each(PARTS)('the dashboard of $part reads every label that its legends name', ({ part }) => {
  const { panels } = JSON.parse(read(`dashboards/${part}.json`)) as {
    panels: { id: number; title: string; targets: { expr: string; legendFormat: string }[] }[];
  };
  expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
  const missing = panels.flatMap(({ title, targets }) =>
    targets.flatMap(({ expr, legendFormat }) =>
      [...legendFormat.matchAll(/\{\{(\w+)\}\}/g)]
        .map(([, label]) => label!)
        .filter((label) => !expr.includes(label))
        .map((label) => `${title}: ${label}`),
    ),
  );
  expect(missing).toEqual([]);
});

describeWith({ tools: ['promtool'] }, 'judged by promtool', () => {
  it.each(RULES)('the alert rules of $part are right', async ({ part }) => {
    await run('promtool', ['check', 'rules', join(ROOT, `alerts/${part}.yaml`)]);
  });

  it('alerts fire for what they are for, and for nothing else', async () => {
    const tests = (['bad', 'good'] as const).map((kind) => ({
      interval: '1m',
      input_series: FIRING.map(({ series, ...values }) => ({ series, values: values[kind] })),
      promql_expr_test: FIRING.map(({ alert }) => ({
        expr: `count(ALERTS{alertname="${alert}",alertstate="firing"}) or vector(0)`,
        eval_time: '60m',
        exp_samples: [{ labels: '{}', value: kind === 'bad' ? 1 : 0 }],
      })),
    }));
    const files = RULES.map(({ part }) => join(ROOT, `alerts/${part}.yaml`));
    await withTempDirectory(async (folder) => {
      const file = join(folder, 'test.json');
      await writeFile(file, JSON.stringify({ rule_files: files, evaluation_interval: '1m', tests }));
      await run('promtool', ['test', 'rules', file]);
    });
  });

  it.each(PARTS)('the expressions of the dashboard of $part are right', async ({ part }) => {
    const { panels } = JSON.parse(read(`dashboards/${part}.json`)) as { panels: { targets: { expr: string }[] }[] };
    const expressions = panels.flatMap(({ targets }) => targets.map(({ expr }) => expr));
    const rules = expressions.map((expr, index) => ({
      record: `dashboard:expression${index}`,
      expr: expr.replaceAll('$__rate_interval', '1m').replaceAll('$instance', '.*'),
    }));
    await withTempDirectory(async (folder) => {
      const file = join(folder, 'rules.json');
      await writeFile(file, JSON.stringify({ groups: [{ name: 'dashboard', rules }] }));
      await run('promtool', ['check', 'rules', file]);
    });
  });
});
