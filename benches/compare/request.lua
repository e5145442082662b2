-- One request for wrk, from the environment, and what became of all of them as a line of JSON.
wrk.method = os.getenv("COMPARE_METHOD")
wrk.path = os.getenv("COMPARE_PATH")
for line in os.getenv("COMPARE_HEADERS"):gmatch("[^\n]+") do
  local name, value = line:match("^([^:]+): (.*)$")
  wrk.headers[name] = value
end
local body = os.getenv("COMPARE_BODY")
wrk.body = body ~= "" and body or nil

done = function(summary, latency)
  local errors = summary.errors
  local format = '{"requests":%d,"seconds":%.6f,"refused":%d,"broken":%d,"median_us":%d,"p99_us":%d}\n'
  io.write(format:format(
    summary.requests, summary.duration / 1e6, errors.status, errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(99)
  ))
end
