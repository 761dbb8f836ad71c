import Messages
import Testing

@testable import Arbitration
@testable import Simulation

private let id = "sata/V"

private func world(operations: UInt64 = 0) -> World {
  var world = World.rack()
  world.hosts["a"]?.endNodes.append(versatileDisk(id, operations: operations))
  world.reportInventory("a")
  return world
}

extension ClaimSpecification {
  fileprivate mutating func ask(_ change: (inout BlockAttributes) -> Void) {
    endNode = EndNodeSelector { $0.name = id }
    attributes = Attributes { $0.block = BlockAttributes { change(&$0) } }
  }
}

extension World {
  fileprivate func assignment(_ name: String) -> Assignment? { claim(name)?.status?.assignment }
  fileprivate func reason(_ name: String) -> String { claim(name)?.status?.pending.map(\.message).joined() ?? "" }
}

@Suite struct WholeDisks {
  @Test(arguments: [nil, UInt64(1 << 30)])
  func areHandedOverAsTheyAre(size: UInt64?) {
    var world = world()
    world.create("all", host: "a", deviceClass: "sata") { $0.ask { $0.sizeBytes = size } }
    world.settle()
    #expect(world.phase("all") == .ready)
    #expect(world.assignment("all")?.path == .direct)
    #expect(world.assignment("all")?.attributes?.block?.sizeBytes == 1 << 30)
  }

  @Test func areNotGivenForAPart() {
    var world = world()
    world.create("part", host: "a", deviceClass: "sata") { $0.ask { $0.sizeBytes = 64 << 20 } }
    world.settle()
    #expect(world.assignment("part")?.path == .directSoftware)
    let refusal = world.create("wrong", host: "a", deviceClass: "sata") {
      $0.ask { $0.sizeBytes = 64 << 20 }
      $0.allowedPaths = [.direct]
    }.refusal
    #expect(refusal?.message.contains("hands over the whole of a/sdv") == true)
  }

  @Test func waitUntilNoPartIsInUse() {
    var world = world()
    world.create("part", host: "a", deviceClass: "sata") { $0.ask { $0.sizeBytes = 4096 } }
    world.settle()
    world.create("all", host: "a", deviceClass: "sata") { $0.ask { _ in } }
    #expect(world.phase("all") == .pending)
    #expect(world.reason("all").contains("the whole of a/sdv is asked for, and sata/V/"))
    world.delete("part")
    world.settle()
    #expect(world.phase("all") == .ready)
    world.create("more", host: "a", deviceClass: "sata") { $0.ask { $0.sizeBytes = 4096 } }
    #expect(world.reason("more").contains("4096 bytes are asked for, 0 of"))
  }

  @Test func areOneExtentElsewhere() {
    var world = world()
    world.create("far", host: "b", deviceClass: "sata") { $0.ask { _ in } }
    world.settle()
    #expect(world.assignment("far")?.path == .mediated)
    #expect(world.assignment("far")?.extent?.sizeBytes == 1 << 30)
  }

  @Test func goIntoAMachineThatRuns() {
    var world = world()
    world.create("machine", host: "a", deviceClass: "sata") {
      $0.ask { $0.sizeBytes = 4096 }
      $0.consumer = Consumer { $0.kind = .virtualMachine(VirtualMachineConsumer { $0.qmpSocket = "/run/vm.qmp" }) }
    }
    world.settle()
    #expect(world.phase("machine") == .ready)
    #expect(world.assignment("machine")?.path == .directSoftware)
  }
}

@Suite struct LimitsOfDisks {
  @Test func areGrantedAndChangedWhileInUse() {
    var world = world()
    world.create("slow", host: "b", deviceClass: "sata") {
      $0.ask {
        $0.sizeBytes = 4096
        $0.maxReadOperationsPerSecond = 100
        $0.burstFactor = 3
      }
    }
    world.settle()
    world.update("slow") {
      $0.maxReadOperationsPerSecond = 0
      $0.maxWriteBytesPerSecond = 1 << 20
    }
    world.settle()
    let granted = world.hosts["a"]?.functions.values.first?.attributes?.block
    #expect(granted?.maxReadOperationsPerSecond ?? 0 == 0)
    #expect(granted?.maxWriteBytesPerSecond == 1 << 20)
    #expect(world.assignment("slow")?.arrival?.enforced?.block?.maxWriteBytesPerSecond == 1 << 20)
    world.update("slow") { $0.burstSeconds = 20 }
    #expect(world.claim("slow")?.specification?.attributes?.block?.burstFactor == 3)
    #expect(world.claim("slow")?.specification?.attributes?.block?.burstSeconds == 20)
    // Without a limit there is nothing to go above.
    world.update("slow") { $0.maxWriteBytesPerSecond = 0 }
    #expect(
      world.claim("slow")?.specification?.attributes?.block
        == BlockAttributes { $0.sizeBytes = 4096 })
  }

  @Test func ofAnotherClassAreRefused() {
    var world = world()
    world.create("slow", host: "a", deviceClass: "sata") { $0.ask { $0.sizeBytes = 4096 } }
    #expect(world.update("slow", transmit: 5_000).refusal?.message.contains("ethernet.max_transmit") == true)
  }

  @Test func thatNothingShowsToWorkAreNotGrantedUnlessThatIsEnough() {
    var world = world()
    world.hosts["a"]?.endNodes[1].capabilities?.byPath = [Path.directSoftware, .mediated].map { path in
      PathCapabilities {
        $0.path = path
        $0.consumers = ["host"]
        $0.attributes = ["block.size_bytes", "block.max_read_bytes_per_second"].map { name in
          AttributeSupport {
            $0.attribute = name
            $0.support = name == "block.size_bytes" || path == .mediated ? .supported : .unverified
          }
        }
      }
    }
    world.reportInventory("a")
    world.create("kept", host: "b", deviceClass: "sata") {
      $0.ask {
        $0.sizeBytes = 4096; $0.maxReadBytesPerSecond = 9
      }
    }
    #expect(world.assignment("kept")?.path == .mediated)
    let refusal = world.create("here", host: "a", deviceClass: "sata") {
      $0.ask {
        $0.sizeBytes = 4096; $0.maxReadBytesPerSecond = 9
      }
      $0.allowedPaths = [.directSoftware]
    }.refusal
    #expect(refusal?.message.contains("does not keep block.max_read_bytes_per_second") == true)
    world.create("there", host: "a", deviceClass: "sata") {
      $0.ask {
        $0.sizeBytes = 4096; $0.maxReadBytesPerSecond = 9; $0.rateGuarantee = .bestEffort
      }
    }
    #expect(world.assignment("there")?.path == .directSoftware)
  }

  struct Wrong: Sendable {
    var says: String
    var change: @Sendable (inout BlockAttributes) -> Void
  }

  @Test(arguments: [
    Wrong(says: "without a factor") { $0.burstSeconds = 5 },
    Wrong(says: "there is no limit") { $0.burstFactor = 5 },
    Wrong(says: "the most that can be counted") { $0.maxReadBytesPerSecond = 1 << 50 },
    Wrong(says: "the most that can be counted") {
      $0.maxReadBytesPerSecond = 1 << 40
      $0.burstFactor = .max
      $0.burstSeconds = .max
    },
    Wrong(says: "is above the maxima of reads and writes together, 30") {
      $0.minOperationsPerSecond = 31
      $0.maxReadOperationsPerSecond = 10
      $0.maxWriteOperationsPerSecond = 20
    },
    Wrong(says: "promised: say it by 'bytesPerSecond' in the configuration of its plugin on a") {
      $0.minBytesPerSecond = 1
    },
    Wrong(says: "above the 1000 of a/sdv") { $0.minOperationsPerSecond = 1001 },
  ])
  func thatCannotBeAreRefused(wrong: Wrong) {
    var world = world(operations: 1000)
    let refusal = world.create("wrong", host: "a", deviceClass: "sata") {
      $0.ask {
        $0.sizeBytes = 4096
        wrong.change(&$0)
      }
    }.refusal
    #expect(refusal?.message.contains(wrong.says) == true, "\(refusal?.message ?? "granted")")
  }

  @Test func fromBelowAreNeverPromisedTwice() {
    var world = world(operations: 1000)
    for name in ["one", "two", "three"] {
      world.create(name, host: "a", deviceClass: "sata") {
        $0.ask {
          $0.sizeBytes = 4096; $0.minOperationsPerSecond = 400
        }
      }
    }
    world.settle()
    #expect(world.phase("two") == .ready)
    #expect(world.phase("three") == .pending)
    #expect(world.reason("three").contains("200 of 1000 are not promised yet"))
    #expect(world.arbiter.listedEndNodes.first { $0.id == id }?.used?.operationsPerSecond == 800)
    world.restart()
    world.connect("a")
    #expect(world.phase("three") == .pending)
    world.delete("one")
    world.settle()
    #expect(world.phase("three") == .ready)
  }
}

@Suite struct Geometry {
  private func extent(_ offset: UInt64, _ size: UInt64 = 4096) -> Extent {
    Extent {
      $0.offsetBytes = offset
      $0.sizeBytes = size
    }
  }

  @Test(arguments: ["a", "b"])
  func isKeptWithTheAssignmentAndToldToAllOfItsHosts(host: String) {
    var world = world()
    world.create("part", host: host, deviceClass: "sata") { $0.ask { $0.sizeBytes = 4096 } }
    world.settle()
    #expect(world.phase("part") == .ready)
    #expect(world.assignment("part")?.extent == extent(0))
    let function = world.assignment("part")?.function ?? ""
    #expect(world.hosts["a"]?.wanted[function]?.assignment?.extent == extent(0))
    #expect(world.hosts[host]?.wanted[function]?.assignment?.extent == extent(0))
    world.restart()
    for name in ["a", "b"] { world.connect(name) }
    #expect(world.hosts["a"]?.wanted[function]?.assignment?.extent == extent(0))
    #expect(world.arbiter.endNodes[id]?.shares[function]?.extent == extent(0))
  }

  @Test func thatBecomesAnotherStopsTheClaimAndTearsNothingDown() {
    var world = world()
    world.create("part", host: "b", deviceClass: "sata") { $0.ask { $0.sizeBytes = 4096 } }
    world.settle()
    let function = world.assignment("part")?.function ?? ""
    world.hosts["a"]?.answered[function]?.function?.extent = extent(8192)
    world.report("a")
    #expect(world.phase("part") == .preparing)
    #expect(
      world.claim("part")?.status?.error?.message.contains("lies at 8192+4096 of sata/V, and it was made at 0+4096")
        == true)
    #expect(world.hosts["a"]?.wanted[function]?.released == false)
    #expect(world.hosts["b"]?.wanted[function]?.released == false)
    world.hosts["a"]?.answered[function]?.function?.extent = extent(0)
    world.report("a")
    #expect(world.phase("part") == .ready)
    #expect(world.claim("part")?.status?.error == nil)
  }

  @Test func thatCannotBeIsNotTaken() {
    var world = world()
    world.create("part", host: "a", deviceClass: "sata") { $0.ask { $0.sizeBytes = 4096 } }
    world.settle()
    for (wrong, says) in [
      (extent(0), "where sata/V/"), (extent(4096, 8192), "4096 bytes were granted"),
      (extent(1 << 30), "which has 1073741824 bytes"),
      (extent(.max), "which has 1073741824 bytes"),
    ] {
      world.create("other", host: "b", deviceClass: "sata") { $0.ask { $0.sizeBytes = 4096 } }
      let function = world.assignment("other")?.function ?? ""
      world.hosts["a"]?.isStuck = true
      world.hosts["a"]?.answered[function] = FunctionStatus {
        $0.role = .server
        $0.phase = .inUse
        $0.serverPort = 10_809
        $0.function = VirtualFunction {
          $0.id = function
          $0.extent = wrong
        }
      }
      world.report("a")
      #expect(world.claim("other")?.status?.error?.message.contains(says) == true)
      #expect(world.hosts["b"]?.wanted[function] == nil)
      world.hosts["a"]?.isStuck = false
      world.delete("other")
      world.settle()
      #expect(world.claim("other") == nil)
    }
  }
}
