/** Reports of the commands for a node, as text and as a document. */
import { expect, it } from 'vitest';
import { diagnosisDocument, renderDiagnosis, renderNodeReport } from './node-report.ts';

it('changes, notes, problems and what is to be done, a line each', () => {
  const text = renderNodeReport({
    changes: [
      { path: '/etc/a', action: 'edited' },
      { path: '/etc/b\u001b[2J', action: 'kept', note: 'changed since' },
    ],
    notes: ['a note'],
    problems: ['a problem'],
    restarts: [
      { service: 'containerd', action: 'restart', why: 'it reads it at its start' },
      { service: 'overlaybd-tcmu', action: 'restart', why: 'so', byHand: '3 devices are in use' },
    ],
  });
  expect(text.split('\n')).toEqual([
    'edited: /etc/a',
    'kept: /etc/b\\x1b[2J (changed since)',
    'note: a note',
    'problem: a problem',
    'to do: systemctl restart containerd: it reads it at its start',
    'to do: systemctl restart overlaybd-tcmu: so. 3 devices are in use',
    '',
  ]);
});

it('a node that is right already', () => {
  expect(renderNodeReport({ changes: [], notes: [], problems: [], restarts: [] })).toBe('nothing to change\n');
});

it('checks, each with the way to mend it below', () => {
  const diagnosis = {
    formatVersion: 1,
    ok: false,
    checks: [
      { name: 'agent', status: 'ok', found: 'it is ready' },
      { name: 'disk', status: 'failed', found: 'full', fix: 'Free space.' },
    ],
  } as const;
  expect(renderDiagnosis(diagnosis)).toBe('ok      agent: it is ready\nfailed  disk: full\n        Free space.\n');
  expect(JSON.parse(diagnosisDocument(diagnosis))).toEqual(diagnosis);
});
