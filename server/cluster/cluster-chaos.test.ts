/** A short form of bench/cluster-chaos.ts: each part is killed once, in the order of a seed, while pods are made. */
import { expect, it, vi } from 'vitest';
import { describeWith } from '../../tests/support/tools.ts';
import { FAULTS, runChaos } from './testing/cluster-chaos.ts';
import { describeWithCluster } from './testing/kube-cluster.ts';

vi.setConfig({ testTimeout: 300_000 });

describeWith({ tools: ['docker-registry', 'skopeo', 'htpasswd'] }, 'chaos', () => {
  describeWithCluster('while pods are made', { controllers: true }, () => {
    it('every pod exists, none has an image that cannot be pulled, and all is in order afterwards', async () => {
      const log: string[] = [];
      const report = await runChaos({
        ...{ duration: 0, seed: 7, makers: 3, rest: 300, longestDown: 2_500, longestPause: 1_500 },
        log: (line) => void log.push(line),
      });
      expect(report.violations, log.join('\n')).toEqual([]);
      expect(
        Object.values(report.faults).every((count) => count > 0),
        log.join('\n'),
      ).toBe(true);
      expect(log).toHaveLength(FAULTS.length + 1);
      const { made, pulls } = report;
      for (const figure of [made['on-demand'], made.p2p, made.replicaSets, made.secrets])
        expect(figure).toBeGreaterThan(0);
      expect(pulls.pulled).toBeGreaterThanOrEqual(made.pods);
    });
  });
});
