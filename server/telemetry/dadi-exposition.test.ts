import { describe, expect, it } from 'vitest';
import { formatDadiMetrics } from './dadi-exposition.ts';
import { RateWindow } from './rate-window.ts';

/** As the seed's agent prints them (document 003). */
const SEED = `# HELP DADIP2P_Alive
# TYPE DADIP2P_Alive gauge
DADIP2P_Alive{node="192.168.69.172:65005",mode="agent"} 1.000000 1692156721833

# HELP DADIP2P_Read_Throughtput Bytes / sec
# TYPE DADIP2P_Read_Throughtput gauge
DADIP2P_Read_Throughtput{node="192.168.69.172:65005",type="pread",mode="agent"} 0.000000 1692156721833
DADIP2P_Read_Throughtput{node="192.168.69.172:65005",type="download",mode="agent"} 0.000000 1692156721833
DADIP2P_Read_Throughtput{node="192.168.69.172:65005",type="peer",mode="agent"} 0.000000 1692156721833
DADIP2P_Read_Throughtput{node="192.168.69.172:65005",type="disk",mode="agent"} 0.000000 1692156721833
DADIP2P_Read_Throughtput{node="192.168.69.172:65005",type="http",mode="agent"} 0.000000 1692156721833

# HELP DADIP2P_QPS
# TYPE DADIP2P_QPS gauge
DADIP2P_QPS{node="192.168.69.172:65005",type="pread",mode="agent"} 0.000000 1692156721833
DADIP2P_QPS{node="192.168.69.172:65005",type="download",mode="agent"} 0.000000 1692156721833
DADIP2P_QPS{node="192.168.69.172:65005",type="peer",mode="agent"} 0.000000 1692156721833
DADIP2P_QPS{node="192.168.69.172:65005",type="disk",mode="agent"} 0.000000 1692156721833
DADIP2P_QPS{node="192.168.69.172:65005",type="http",mode="agent"} 0.000000 1692156721833

# HELP DADIP2P_MaxLatency us
# TYPE DADIP2P_MaxLatency gauge
DADIP2P_MaxLatency{node="192.168.69.172:65005",type="pread",mode="agent"} 0.000000 1692156721833
DADIP2P_MaxLatency{node="192.168.69.172:65005",type="download",mode="agent"} 0.000000 1692156721833
DADIP2P_MaxLatency{node="192.168.69.172:65005",type="peer",mode="agent"} 0.000000 1692156721833
DADIP2P_MaxLatency{node="192.168.69.172:65005",type="disk",mode="agent"} 0.000000 1692156721833
DADIP2P_MaxLatency{node="192.168.69.172:65005",type="http",mode="agent"} 0.000000 1692156721833

# HELP DADIP2P_Count Bytes
# TYPE DADIP2P_Count gauge
DADIP2P_Count{node="192.168.69.172:65005",type="pread",mode="agent"} 0.000000 1692156721833
DADIP2P_Count{node="192.168.69.172:65005",type="download",mode="agent"} 0.000000 1692156721833
DADIP2P_Count{node="192.168.69.172:65005",type="peer",mode="agent"} 0.000000 1692156721833
DADIP2P_Count{node="192.168.69.172:65005",type="disk",mode="agent"} 0.000000 1692156721833
DADIP2P_Count{node="192.168.69.172:65005",type="http",mode="agent"} 0.000000 1692156721833

# HELP DADIP2P_Cache
# TYPE DADIP2P_Cache gauge
DADIP2P_Cache{node="192.168.69.172:65005",type="allocated",mode="agent"} 4294967296.000000 1692156721833
DADIP2P_Cache{node="192.168.69.172:65005",type="used",mode="agent"} 4294971392.000000 1692156721833

# HELP DADIP2P_Label
# TYPE DADIP2P_Label gauge
`;
const IDLE = { bytesPerSecond: 0, requestsPerSecond: 0, longest: 0, total: 0 };
const REPORT = {
  node: '192.168.69.172:65005',
  figures: () => IDLE,
  cache: { allocated: 4_294_967_296, used: 4_294_971_392 },
  time: 1_692_156_721_833,
};

describe('DADIP2P metrics', () => {
  it('are printed as the seed prints them, byte for byte', () => {
    expect(formatDadiMetrics(REPORT)).toBe(SEED);
  });

  it('leave out the times where asked to, and nothing else', () => {
    expect(formatDadiMetrics({ ...REPORT, time: undefined })).toBe(SEED.replaceAll(' 1692156721833\n', '\n'));
  });

  it('have the figures of each type, and no time of day below the millisecond', () => {
    const figures = (type: string) => ({
      bytesPerSecond: 1.5,
      requestsPerSecond: 0.1,
      longest: 26_461.0404,
      total: type === 'http' ? 4_248_808_352 : 1,
    });
    const lines = formatDadiMetrics({ ...REPORT, figures, time: 5.9 }).split('\n');
    const labels = 'node="192.168.69.172:65005",type="http",mode="agent"';
    expect(lines).toContain(`DADIP2P_Read_Throughtput{${labels}} 1.500000 5`);
    expect(lines).toContain(`DADIP2P_QPS{${labels}} 0.100000 5`);
    expect(lines).toContain(`DADIP2P_MaxLatency{${labels}} 26461.040400 5`);
    expect(lines).toContain(`DADIP2P_Count{${labels}} 4248808352.000000 5`);
    expect(lines).toContain(`DADIP2P_Count{${labels.replace('http', 'peer')}} 1.000000 5`);
  });
});

describe('rates', () => {
  it('are those of the last ten seconds', () => {
    let now = 0;
    const window = new RateWindow(() => now);
    expect(window.figures).toEqual({ bytesPerSecond: 0, requestsPerSecond: 0, longest: 0 });
    window.add(1000, 50);
    now = 9_999;
    window.add(500, 20);
    expect(window.figures).toEqual({ bytesPerSecond: 150, requestsPerSecond: 0.2, longest: 50 });
    now = 10_000;
    expect(window.figures).toEqual({ bytesPerSecond: 50, requestsPerSecond: 0.1, longest: 20 });
    window.add(7, 1);
    expect(window.figures).toEqual({ bytesPerSecond: 50.7, requestsPerSecond: 0.2, longest: 20 });
    now = 100_000;
    expect(window.figures).toEqual({ bytesPerSecond: 0, requestsPerSecond: 0, longest: 0 });
  });
});
