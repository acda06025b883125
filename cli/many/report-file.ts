/** The flag that asks for a report for other programs. */
import { AccelError } from '../../base/error.ts';

/** A report to write. */
export interface ReportFile {
  readonly form: 'junit';
  readonly path: string;
}

/** The file of a report that names none. */
const DEFAULT_PATH = 'accel-junit.xml';

/** `--report`: `junit=FILE`, or `junit` for a file in the current folder. */
export function parseReport(text: string): ReportFile {
  const [, path] = /^junit(?:=(.+))?$/s.exec(text) ?? [];
  if (/^junit(=.|$)/s.test(text)) return { form: 'junit', path: path ?? DEFAULT_PATH };
  throw new AccelError('usage', 'the report cannot be written', {
    expected: `--report junit=FILE, or junit for ${DEFAULT_PATH}`,
    found: text,
  });
}
