/**
 * The metrics of DADI's agent, byte for byte as it prints them, so that dashboards that read it read this agent too. Values
 * have six decimals, and each line the time of the answer in milliseconds unless that is switched off.
 */

/** Kinds of work in DADIP2P metrics, in the order in which they are printed. */
export const DADI_TYPES = ['pread', 'download', 'peer', 'disk', 'http'] as const;
/** One of {@link DADI_TYPES}. */
export type DadiType = (typeof DADI_TYPES)[number];

/** Figures of one kind of work. */
export interface DadiFigures {
  readonly bytesPerSecond: number;
  readonly requestsPerSecond: number;
  /** Microseconds. */
  readonly longest: number;
  /** Bytes since the start. */
  readonly total: number;
}

/** Values to print. */
export interface DadiReport {
  /** `IP:PORT` of the agent. */
  readonly node: string;
  readonly figures: (type: DadiType) => DadiFigures;
  /** Bytes. */
  readonly cache: { readonly allocated: number; readonly used: number };
  /** Milliseconds since 1970; undefined leaves the times out. */
  readonly time: number | undefined;
}

/** The text, with a line feed at its end. */
export function formatDadiMetrics({ node, figures, cache, time }: DadiReport): string {
  const end = time === undefined ? '' : ` ${Math.floor(time)}`;
  const line = (name: string, type: string | undefined, value: number): string => {
    const labels = [`node="${node}"`, ...(type === undefined ? [] : [`type="${type}"`]), 'mode="agent"'];
    return `DADIP2P_${name}{${labels.join(',')}} ${value.toFixed(6)}${end}`;
  };
  const group = (name: string, help: string, lines: readonly string[]): string =>
    [`# HELP DADIP2P_${name}${help === '' ? '' : ` ${help}`}`, `# TYPE DADIP2P_${name} gauge`, ...lines].join('\n');
  const each = (name: string, value: (of: DadiFigures) => number): string[] =>
    DADI_TYPES.map((type) => line(name, type, value(figures(type))));
  const groups = [
    group('Alive', '', [line('Alive', undefined, 1)]),
    // The name is the seed's, with its letter too many.
    group(
      'Read_Throughtput',
      'Bytes / sec',
      each('Read_Throughtput', ({ bytesPerSecond }) => bytesPerSecond),
    ),
    group(
      'QPS',
      '',
      each('QPS', ({ requestsPerSecond }) => requestsPerSecond),
    ),
    group(
      'MaxLatency',
      'us',
      each('MaxLatency', ({ longest }) => longest),
    ),
    group(
      'Count',
      'Bytes',
      each('Count', ({ total }) => total),
    ),
    group('Cache', '', [line('Cache', 'allocated', cache.allocated), line('Cache', 'used', cache.used)]),
    group('Label', '', []),
  ];
  return `${groups.join('\n\n')}\n`;
}
