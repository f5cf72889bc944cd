// What the verifier counts, as Prometheus reads it.
#ifndef CUPEL_VERIFIER_RPC_METRICS_H_
#define CUPEL_VERIFIER_RPC_METRICS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/appraisal/appraise.h"
#include "verifier/store/store.h"

namespace cupel::verifier {

// Thread-safe.
class Metrics {
 public:
  Metrics();
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // An appraisal that took `latency` from the list's last piece to its outcome.
  void CountAppraisal(appraisal::Verdict verdict, absl::Duration latency);
  // An attestation that took `latency` from the list's last piece until its
  // verdict was stored and on its way to the agent.
  void CountAttestation(absl::Duration latency);
  // `call` is the name of the store's function.
  void CountStoreError(absl::string_view call);
  void CountEnrollment(bool ok);
  // Asked for whenever somebody reads; until `reader` is reset.
  struct Gauges {
    // Absent where the store doesn't say.
    std::optional<std::map<AgentState, uint64_t>> agents;
    size_t streams = 0;
    size_t agent_queue = 0;     // jobs that wait, of agents'
    size_t operator_queue = 0;  // and of operators' calls
    absl::Time certificate_end;
    bool certificate_stale = false;  // the files hold what can't be served
  };
  void SetGauges(std::function<Gauges()> reader);

  // As text, in Prometheus' format.
  std::string Text() const;
  // Serves it on "`address`:`port`/metrics"; 0 for a free port. The port, or
  // kUnavailable if it can't be had.
  absl::StatusOr<int> Serve(absl::string_view address, int port);
  void Stop();

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_RPC_METRICS_H_
