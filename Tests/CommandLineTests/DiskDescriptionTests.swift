import Services
import Testing

@testable import iov

/// What is told of a disk of several hosts: host-a, which controlled it, is lost; host-b takes over and fences.
@Suite struct ADescriptionOfADisk {
  private static func function(_ number: Int, _ claim: String, on host: String, mebibytesAt start: UInt64)
    -> AssignedFunction
  {
    AssignedFunction {
      $0.assignment = Assignment {
        $0.function = "sas/lun/\(number)"
        $0.claim = claim
        $0.claimUid = "uid-of-\(claim)"
        $0.endNode = "sas/lun"
        $0.host = host
        $0.controllingHost = "host-a"
        $0.path = .mediated
        $0.token = FencingToken { $0.value = UInt64(number) }
        $0.fenceDomain = "sas/lun@host-a"
        $0.extent = Extent {
          $0.offsetBytes = start << 20
          $0.sizeBytes = 64 << 20
        }
      }
    }
  }

  private let rack = {
    var rack = Rack()
    rack.hosts = [.connected("host-a"), .connected("host-b"), .connected("host-c")]
    rack.hosts[0].state = .disconnected
    rack.hosts[0].lastSeen = nil
    rack.endNodes = [
      EndNode {
        $0.id = "sas/lun"
        $0.name = "host-a/sda"
        $0.deviceClass = "sas"
        $0.roots = ["host-a", "host-b"].map { host in
          Root {
            $0.host = host
            $0.localName = host == "host-a" ? "/dev/sda" : "/dev/sdq"
          }
        }
        $0.physicalFunction = PhysicalFunction { $0.controllingHost = "host-a" }
        $0.controlTransfer = ControlTransfer { $0.host = "host-b" }
        $0.capacity = Capacity {
          $0.functions = 6
          $0.sizeBytes = 256 << 20
          $0.operationsPerSecond = 8000
          $0.bytesPerSecond = 200_000_000
        }
        $0.used = Capacity {
          $0.functions = 2
          $0.operationsPerSecond = 500
        }
        $0.capabilities = Capabilities { $0.multiRoot = true }
      }
    ]
    var released = function(3, "old", on: "host-c", mebibytesAt: 128)
    released.releasing = true
    released.reports = [.report("host-b", .fencer, .scrubbing)]
    rack.functions = [function(2, "data", on: "host-c", mebibytesAt: 0), released]
    rack.claims = ["data", "old"].map { name in
      Claim {
        $0.name = name
        $0.uid = "uid-of-\(name)"
        $0.specification = ClaimSpecification {
          $0.deviceClass = "sas"
          $0.host = "host-c"
          $0.attributes = Attributes {
            $0.block = BlockAttributes {
              $0.sizeBytes = 64 << 20
              $0.maxReadOperationsPerSecond = 900
              $0.maxWriteBytesPerSecond = 10 << 20
              $0.minOperationsPerSecond = 500
              $0.burstFactor = 4
              $0.burstSeconds = 10
            }
          }
        }
        $0.status = ClaimStatus {
          $0.phase = name == "old" ? .releasing : .ready
          $0.assignment = rack.functions[name == "old" ? 1 : 0].assignment
        }
      }
    }
    return rack
  }()

  /// With one space where a table has several.
  private func lines(_ description: Description) -> [String] {
    description.lines.map { $0.split(separator: " ").joined(separator: " ") }
  }

  private func expect(_ expected: [String], in lines: [String]) {
    for line in expected { #expect(lines.contains(line), "\(line) is not in \(lines)") }
  }

  @Test func namesItsRootsAndWhereControlGoes() {
    expect(
      [
        "Controlled by: host-a", "Control goes to: host-b (connected)", "host-a away /dev/sda -",
        "host-b connected /dev/sdq -", "Several roots yes: the device itself keeps hosts apart",
      ], in: lines(rack.describe(rack.endNodes[0])))
  }

  @Test func saysWhatItDoesAndHowMuchOfThatIsPromised() {
    let lines = lines(rack.describe(rack.endNodes[0]))
    expect(["Operations: 500 of 8000/s promised", "Bytes: 0 of 200000000B/s promised"], in: lines)
    var unknown = rack.endNodes[0]
    unknown.capacity?.operationsPerSecond = 0
    #expect(!self.lines(rack.describe(unknown)).contains { $0.hasPrefix("Operations:") })
  }

  @Test func isAMapWithItsGapsAndWhatFallsTogether() {
    expect(
      [
        "0 64MiB sas/lun/2 data host-c", "64MiB 64MiB free", "128MiB 64MiB sas/lun/3 old host-c", "192MiB 64MiB free",
        "sas/lun@host-a sas/lun/2, sas/lun/3",
      ], in: lines(rack.describe(rack.endNodes[0])))
  }

  @Test func ofAClaimHasItsPlaceAndItsLimits() {
    let told = lines(rack.describe(rack.claims[0]))
    expect(
      [
        "Extent 64MiB at 0", "Fence domain sas/lun@host-a", "Controlled by host-a (away)", "Max reads 900/s",
        "Max write rate 10MiB/s", "Min operations 500/s", "Burst 4 times the limits for 10 s",
      ], in: told)
    #expect(!told.contains { $0.hasPrefix("Fenced by") })
  }

  @Test func namesWhoFencesInThePlaceOfALostHost() {
    expect(["Extent 64MiB at 128MiB", "Fenced by host-b (connected)"], in: lines(rack.describe(rack.claims[1])))
    let function = lines(rack.describe(rack.functions[1]))
    expect(["State: being released", "Fenced by: host-b (connected)", "Extent: 64MiB at 128MiB"], in: function)
    #expect(function.contains { $0.hasPrefix("host-b fencer ") })
  }
}
