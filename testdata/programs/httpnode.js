// node httpnode.js URL: what httpgo does, with fetch.
const base = process.argv[2];
const ask = async (path, body) => {
  const r = await fetch(base + path, body ? { method: 'POST', body, headers: { 'content-type': 'application/json' } } : undefined);
  console.log(r.status, (await r.text()).trim());
};
(async () => {
  console.log('uuid', crypto.randomUUID(), Math.random());
  await ask('/now');
  await ask('/echo', JSON.stringify({ id: crypto.randomUUID(), customer: 'ada@example.com' }));
  for (let i = 0; i < 3; i++) await ask('/item/' + i);
})().catch((e) => { console.log('error', e.cause ?? e); process.exit(1); });
