// Real user monitoring: measure the page as its user experiences it, and send the values when the user leaves it.
// The metrics are defined at https://web.dev/articles/vitals; times are in milliseconds.
(() => {
  const { url, route, rate } = document.currentScript.dataset;
  if (Math.random() >= Number(rate)) return;

  const values = {};
  const observers = [];
  const observe = (type, callback, options = {}) => {
    if (!PerformanceObserver.supportedEntryTypes.includes(type)) return;
    const read = (entries) => entries.forEach(callback);
    const observer = new PerformanceObserver((list) => read(list.getEntries()));
    observer.observe({ type, buffered: true, ...options });
    observers.push(() => read(observer.takeRecords()));
  };

  // Time to first byte, first contentful paint, largest contentful paint.
  observe("navigation", (entry) => { values.ttfb = entry.responseStart; });
  observe("paint", (entry) => { if (entry.name === "first-contentful-paint") values.fcp = entry.startTime; });
  observe("largest-contentful-paint", (entry) => { values.lcp = entry.startTime; });

  // Cumulative layout shift: the highest sum of shifts that are at most 1 s apart, in at most 5 s.
  let shifts = 0;
  let first = 0;
  let last = -Infinity;
  values.cls = 0;
  observe("layout-shift", (entry) => {
    if (entry.hadRecentInput) return;
    if (entry.startTime - last > 1000 || entry.startTime - first > 5000) {
      shifts = 0;
      first = entry.startTime;
    }
    last = entry.startTime;
    shifts += entry.value;
    values.cls = Math.max(values.cls, shifts);
  });

  // Interaction to next paint: the slowest interaction, without one of every 50.
  const interactions = new Map();
  observe("event", (entry) => {
    if (!entry.interactionId) return;
    const duration = Math.max(entry.duration, interactions.get(entry.interactionId) ?? 0);
    interactions.set(entry.interactionId, duration);
    const slowest = [...interactions.values()].sort((a, b) => b - a);
    values.inp = slowest[Math.floor(slowest.length / 50)];
  }, { durationThreshold: 40 });

  const send = () => {
    if (document.visibilityState !== "hidden") return;
    document.removeEventListener("visibilitychange", send);
    observers.forEach((finish) => finish());
    navigator.sendBeacon(url, new Blob([JSON.stringify({ route, ...values })], { type: "application/json" }));
  };
  document.addEventListener("visibilitychange", send);
})();
