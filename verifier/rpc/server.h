// A running verifier: its two listeners and all that is behind them.
#ifndef CUPEL_VERIFIER_RPC_SERVER_H_
#define CUPEL_VERIFIER_RPC_SERVER_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/config/verifier_config.h"
#include "common/util/log.h"
#include "verifier/store/store.h"

namespace cupel::verifier {

// Where it listens: "0.0.0.0:8891", with the ports that it really has.
struct ListenAddresses {
  std::string attest;
  std::string fleet;
  std::string metrics;  // empty: none
};

// Thread-safe.
class Server {
 public:
  // Listens, and serves from then on; a port of 0 takes a free one. `store` and
  // `log` must outlive the server.
  //
  // When the certificate's files change, new connections are shown the new one;
  // those that are open go on. Files that can't be served change nothing but
  // the log and the metrics.
  //
  // Errors, each with its option's name: kUnavailable, a port can't be had; and
  // those of ServedCertificate::Load, ReadFile, TrustAnchors and
  // Metrics::Serve.
  static absl::StatusOr<std::unique_ptr<Server>> Start(
      const config::VerifierConfig& config, Store& store, Logger& log);
  // Stops.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  const ListenAddresses& addresses() const;
  // Looks at the certificate's files now, rather than within seconds, and logs
  // what came of it.
  void ReloadCertificate();
  // Refuses every stream with a time to come back, ends the calls, and returns
  // once nothing runs any more. Can be called again.
  void Stop();

 private:
  struct Parts;
  explicit Server(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_RPC_SERVER_H_
