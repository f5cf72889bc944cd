// Machines in hostile hands: their TPMs are genuine, or as good as that, and
// certified by a vendor, so that all they bring is valid until a test changes
// one thing.
#ifndef CUPEL_TESTS_SUPPORT_HELD_MACHINE_H_
#define CUPEL_TESTS_SUPPORT_HELD_MACHINE_H_

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/attester/quoter.h"
#include "agent/enrollment/enrollee.h"
#include "common/crypto/digest.h"
#include "common/tpm/attest.h"
#include "common/util/agent_id.h"
#include "common/util/secret.h"
#include "tests/support/enrollment_bench.h"
#include "tests/support/evidence_builder.h"
#include "tests/support/fake_ek.h"

namespace cupel::testing {

class HeldMachine : public agent::Quoter {
 public:
  virtual const AgentId& id() const = 0;
  virtual const agent::Enrollee& enrollee() const = 0;
  // TPM2_ActivateCredential with its EK and AK.
  virtual absl::StatusOr<Secret> Activate(
      std::span<const uint8_t> credential_blob,
      std::span<const uint8_t> encrypted_secret) = 0;
  // The measurement list as it is now.
  virtual std::vector<uint8_t> List() = 0;
  virtual std::vector<crypto::HashAlgorithm> Banks() = 0;
  // What the policy of an operator who knows the machine allows: paths and
  // digests, a line each.
  virtual std::string Allowlist() = 0;
};

// With a fake TPM. A copy is a clone.
class FakeTpmMachine : public HeldMachine {
 public:
  // Each `number` has an id, an EK and an AK of its own.
  FakeTpmMachine(const Vendor& vendor, int number,
                 std::vector<crypto::HashAlgorithm> banks = {
                     crypto::HashAlgorithm::kSha256});

  const AgentId& id() const override { return id_; }
  const agent::Enrollee& enrollee() const override { return enrollee_; }
  absl::StatusOr<Secret> Activate(
      std::span<const uint8_t> credential_blob,
      std::span<const uint8_t> encrypted_secret) override;
  absl::StatusOr<agent::QuoteResult> Quote(
      std::span<const uint8_t> qualifying_data,
      const tpm::PcrSelection& selection) override;
  std::vector<uint8_t> List() override { return machine.list.bytes(); }
  std::vector<crypto::HashAlgorithm> Banks() override { return machine.banks; }
  std::string Allowlist() override;

  // Makes another AK under the same EK.
  void RenewAk();

 private:
  FakeAkOptions NextAk();
  agent::Enrollee MakeEnrollee() const;

  int number_;
  int ak_count_ = 0;
  AgentId id_;
  FakeEk ek_;
  std::vector<std::vector<uint8_t>> certificates_;

 public:
  // Set what the test is about.
  FakeMachine machine;
  // Changes what is signed, as if the TPM did so.
  std::function<void(tpm::Attest&)> on_attest;

 private:
  agent::Enrollee enrollee_;
};

}  // namespace cupel::testing

#endif  // CUPEL_TESTS_SUPPORT_HELD_MACHINE_H_
