// Makes an archive with Playwright and Chromium: see ../README.md.
const { chromium } = require('playwright-core');

(async () => {
  const [, , browser, base, out] = process.argv;
  const b = await chromium.launch({ executablePath: browser, args: ['--no-sandbox'] });
  const c = await b.newContext({ ignoreHTTPSErrors: true, recordHar: { path: out, content: 'embed' } });
  const p = await c.newPage();
  await p.goto(base + '/item/1');
  await p.evaluate(async () => {
    const ask = async (...args) => (await fetch(...args)).arrayBuffer();
    await ask('/item/2');
    await ask('/item/2');
    await ask('/echo', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{"id":17}' });
    await ask('/echo', { method: 'POST', body: new URLSearchParams({ a: '1', b: 'x y' }) });
    await ask('/big?n=64');
    await ask('/status/404');
  });
  await p.waitForLoadState('networkidle');
  await p.evaluate(() => { fetch('/item/3'); }); // nobody waits for its body: it will not be in the file
  await c.close();
  await b.close();
})();
