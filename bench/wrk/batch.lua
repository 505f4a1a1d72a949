-- Claim 50, report 50: two requests for 50 tasks. A claim that finds none waits for one, as a daemon's does.
local headers = { ["X-API-Key"] = os.getenv("BENCH_KEY"), ["Content-Type"] = "application/json" }
local worker = 0
local claim = '{"workerId":"worker-%d","provides":["machine"],"max":50,"waitSec":1}'
local held, n = {}, 0
function request()
  if n > 0 then
    local body = held[n]
    held[n], n = nil, n - 1
    return wrk.format("POST", "/api/results", headers, body)
  end
  worker = (worker + 1) % 64
  return wrk.format("POST", "/api/queue/claim", headers, claim:format(worker))
end
function response(status, _, body)
  local results, seen = {}, {}
  for id, token in body:gmatch('"id":"([^"]+)","status":"claimed".-"token":(%d+)') do
    if not seen[id] then  -- the first task stands in the answer twice
      seen[id] = true
      results[#results + 1] = '{"taskId":"' .. id .. '","token":' .. token .. ',"success":true,"output":"done"}'
    end
  end
  if #results > 0 then n = n + 1; held[n] = '{"results":[' .. table.concat(results, ",") .. ']}' end
end
