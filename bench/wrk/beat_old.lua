-- Old heartbeats, `{"workerId"}`, from 1,000 (BENCH_DAEMONS) daemons in turn.
local key, n = os.getenv("BENCH_KEY"), 0
local daemons = tonumber(os.getenv("BENCH_DAEMONS") or "1000")
local headers = { ["X-API-Key"] = key, ["Content-Type"] = "application/json" }
function request()
  n = (n + 1) % daemons
  return wrk.format("POST", "/api/queue/heartbeat", headers, '{"workerId":"daemon_bench' .. n .. '_1738591000000"}')
end
