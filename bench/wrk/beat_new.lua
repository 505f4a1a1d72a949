-- Full heartbeats of today's daemon, from 1,000 (BENCH_DAEMONS) daemons in turn; each beat has a higher `seq`.
local key = os.getenv("BENCH_KEY")
local n = tonumber(os.getenv("BENCH_FROM") or "0")
local seq = tonumber(os.getenv("BENCH_SEQ") or "0")
local daemons = tonumber(os.getenv("BENCH_DAEMONS") or "1000")
local headers = { ["X-API-Key"] = key, ["Content-Type"] = "application/json" }
local form = '{"daemonId":"beat-%d","machineId":"machine-%d","bootId":"boot-%d","seq":%d,"intervalSec":10,'
  .. '"version":"0.1.0","running":[],"loops":{"claim":"2026-02-04T14:13:28.213Z","heartbeat":"2026-02-04T14:13:28.213Z"},'
  .. '"auth":{"claude":"ok"},"capacity":2,"provides":["machine","executor:command"],"state":"running","sleptSec":0}'
function request()
  n = n + 1
  if n >= daemons then n = 0; seq = seq + 1 end
  return wrk.format("POST", "/api/queue/heartbeat", headers, string.format(form, n, n, n, seq + 1, n))
end
