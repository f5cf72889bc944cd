// A verifier and an operator, for the tests in this folder.
#ifndef CUPEL_TESTS_CLI_ONLINE_ONLINE_H_
#define CUPEL_TESTS_CLI_ONLINE_ONLINE_H_

#include <string>
#include <thread>
#include <vector>

#include "tests/cli/cli.h"
#include "tests/support/fake_fleet.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/test_pki.h"

namespace cupel::testing {

inline constexpr char kAgent[] = "d432fbb3-d2f1-4a97-9ef7-75bd81c00000";
inline constexpr char kOtherAgent[] = "0a0a0a0a-d2f1-4a97-9ef7-75bd81c00001";

// What findings of this bench are accepted by, behind the id.
inline constexpr char kHandle[] = "4f9a1c35e0b2d7768a90cc125e7b3d41";

class OnlineBench {
 public:
  OnlineBench();

  // Runs cupel-tenant as the operator whom the verifier knows, by way of
  // tenant.yaml in the bench's folder: no other configuration counts.
  CommandResult Run(const std::vector<std::string>& arguments,
                    const CommandOptions& options = {}) const;

  // Writes tenant.yaml with these lines besides.
  void Configure(absl::string_view more);

  FakeFleetState& state() { return fleet_.state(); }
  const TestCa& ca() const { return ca_; }
  int port() const { return fleet_.port(); }
  // A path in a folder that goes with the bench; ca.pem, cert.pem and key.pem
  // are there, and tenant.yaml.
  std::string Path(const std::string& name) const { return folder_ / name; }
  std::string Write(const std::string& name, absl::string_view content) const;

  // An agent that is trusted, in the verifier.
  v1::Agent& AddTrusted(const std::string& id);
  // The same, failed by a file that its policy doesn't list.
  v1::Agent& AddFailed(const std::string& id, const std::string& path);

 private:
  TestCa ca_;
  TestOperator operator_;
  FakeFleet fleet_;
  TemporaryFolder folder_;
};

// A file that can be read once, as `<(command)` is.
class Pipe {
 public:
  // `path` must be missing. Whoever reads it gets `content`.
  Pipe(std::string path, std::string content);
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  std::jthread writer_;
};

}  // namespace cupel::testing

#endif  // CUPEL_TESTS_CLI_ONLINE_ONLINE_H_
