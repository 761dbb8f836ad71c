import Messages
import Testing

@testable import Arbitration
@testable import Simulation

/// Host c has a disk, of which claims for a file server hold parts; a and b have nothing. Where `source` is for a, it is
/// mediated; where it is for c, it is c's own.
private func world(sourceOn host: String = "a", size: UInt64 = 1 << 28) -> World {
  var world = World.rack()
  world.hosts["c"]?.endNodes[0].capabilities?.consumers = ["host", "container", "virtual_machine", "file_server"]
  world.reportInventory("c")
  world.createSource("source", on: host, size: size)
  world.settle()
  return world
}

extension World {
  @discardableResult
  fileprivate mutating func createSource(
    _ name: String, on host: String, size: UInt64? = 1 << 28, from source: String = ""
  ) -> Result<Claim, Refusal> {
    create(name, host: host, deviceClass: "sata") {
      $0.consumer = Consumer { $0.kind = .fileServer(FileServerConsumer()) }
      $0.source = source
      $0.attributes = size.map { size in Attributes { $0.block = BlockAttributes { $0.sizeBytes = size } } }
    }
  }

  @discardableResult
  fileprivate mutating func createPart(
    _ name: String, on host: String, of source: String = "source", size: UInt64? = 1 << 26,
    _ change: (inout ClaimSpecification) -> Void = { _ in }
  ) -> Result<Claim, Refusal> {
    create(name, host: host, deviceClass: "sata") {
      $0.source = source
      $0.attributes = size.map { size in Attributes { $0.block = BlockAttributes { $0.sizeBytes = size } } }
      change(&$0)
    }
  }

  fileprivate func assignment(_ name: String) -> Assignment? { claim(name)?.status?.assignment }
  fileprivate func reason(_ name: String) -> String { claim(name)?.status?.pending.map(\.message).joined() ?? "" }
  fileprivate func error(_ name: String) -> String { claim(name)?.status?.error?.message ?? "" }

  /// The order in which hosts have been told to let go, by claim, the first word of each.
  fileprivate var releases: [String] {
    var releases: [String] = []
    for effect in effects {
      guard case .send(_, let message) = effect, case .wanted(let state) = message.kind else { continue }
      for entry in state.functions where entry.released && entry.role != .consumer {
        let claim = entry.assignment?.claim ?? ""
        if releases.last != claim { releases.append(claim) }
      }
    }
    return releases
  }
}

@Suite struct FileServers {
  @Test(arguments: ["a", "c"])
  func givePartsOfWhatTheyHold(host: String) {
    var world = world(sourceOn: host)
    world.createPart("here", on: host)
    world.createPart("there", on: "b")
    world.settle()
    let source = world.assignment("source")
    for (name, path) in [("here", Path.directSoftware), ("there", .mediated)] {
      #expect(world.phase(name) == .ready)
      #expect(world.assignment(name)?.path == path)
      #expect(world.assignment(name)?.controllingHost == host)
      #expect(world.assignment(name)?.endNode == source?.function)
      #expect(world.assignment(name)?.fenceDomain == source?.function)
      #expect(world.assignment(name)?.source == "source")
    }
    #expect(world.arbiter.listedEndNodes.map(\.id) == ["ethernet/52:54:00:00:00:01", "sata/S3R1AL"])
  }

  @Test func stack() {
    var world = world(sourceOn: "a")
    world.createSource("upper", on: "b", size: 1 << 27, from: "source")
    world.createPart("top", on: "c", of: "upper", size: nil)
    world.settle()
    #expect(world.phase("top") == .ready)
    #expect(world.assignment("top")?.attributes?.block?.sizeBytes == 1 << 27)
    let chain = ["top", "upper", "source"].compactMap { world.assignment($0)?.controllingHost }
    #expect(chain == ["b", "a", "c"])
    world.restart()
    for host in ["c", "b", "a"] { world.connect(host) }
    world.settle()
    for name in ["top", "upper", "source"] { #expect(world.phase(name) == .ready) }
    world.createPart("more", on: "a", of: "source")
    world.settle()
    #expect(world.phase("more") == .ready)
  }

  @Test func giveNothingToWhoDoesNotNameThem() {
    var world = world()
    world.create("other", host: "b", deviceClass: "sata") {
      $0.attributes = Attributes { $0.block = BlockAttributes { $0.sizeBytes = 1 << 26 } }
    }
    world.settle()
    #expect(world.assignment("other")?.endNode == "sata/S3R1AL")
    let function = world.assignment("source")?.function ?? ""
    let refusal = world.create("chooser", host: "b", deviceClass: "sata") {
      $0.endNode = EndNodeSelector { $0.name = function }
    }.refusal
    #expect(refusal?.message.contains("there is no end node 'sata/S3R1AL/") == true)
  }

  @Test func giveNoMoreThanTheyHave() {
    var world = world()
    world.createPart("most", on: "b", size: 3 << 26)
    world.settle()
    world.createPart("more", on: "b", size: 1 << 27)
    #expect(world.phase("more") == .pending)
    #expect(world.reason("more").contains("134217728 bytes are asked for, 67108864 of 268435456 are free"))
    world.delete("most")
    world.settle()
    #expect(world.phase("more") == .ready)
  }

  @Test func thatAreNotReadyHaveTheirPartsWaitAndSayWhy() {
    var world = world()
    world.createSource("second", on: "a", size: 1 << 30)
    world.createPart("part", on: "b", of: "second")
    #expect(world.phase("part") == .pending)
    #expect(world.reason("part") == "its source 'second' waits for a function; see: iov claim explain second")
    world.delete("source")
    world.settle()
    #expect(world.phase("part") == .ready)
  }

  /// However many there are between it and the device.
  @Test func aPartThatWaitsNamesItsSourceAlone() {
    var world = world(sourceOn: "c")
    world.hosts["c"]?.isStuck = true
    world.createSource("s2", on: "c", size: 1 << 27, from: "source")
    for number in 3...7 { world.createSource("s\(number)", on: "c", size: 1 << 27, from: "s\(number - 1)") }
    #expect(world.phase("s7") == .pending)
    #expect(world.reason("s3") == "its source 's2' is being set up; see: iov claim explain s2")
    #expect(world.reason("s7") == "its source 's6' waits for a function; see: iov claim explain s6")
  }

  @Test func aChainOfMoreThanEightIsRefused() throws {
    var world = world(sourceOn: "c")
    world.createSource("s2", on: "c", size: 1 << 27, from: "source")
    for number in 3...7 { world.createSource("s\(number)", on: "c", size: 1 << 27, from: "s\(number - 1)") }
    world.createPart("eighth", on: "c", of: "s7", size: nil)
    world.settle()
    #expect(world.phase("eighth") == .ready)
    world.createSource("s8", on: "c", size: nil, from: "s7")
    let words =
      "claim 'ninth' would be number 9 of a chain of claims that are served one from the other, which begins at 'source'; 8 are "
      + "the most: name a source nearer to that one"
    #expect(world.createPart("ninth", on: "c", of: "s8").refusal?.message == words)
    #expect(world.claim("ninth") == nil)
    let request = CreateClaimRequest {
      $0.name = "ninth"
      $0.specification = ClaimSpecification {
        $0.deviceClass = "sata"
        $0.host = "c"
        $0.source = "s8"
      }
    }
    #expect(try world.plan([request]).claims.map(\.refusal) == [words])
    #expect(world.apply([request]).refusal?.message.contains(words) == true)
  }

  struct Wrong: Sendable {
    var says: String
    var create: @Sendable (inout World) -> Refusal?
  }

  @Test(arguments: [
    Wrong(says: "claim 'self' would be its own source: self from self") {
      $0.createPart("self", on: "b", of: "self").refusal
    },
    Wrong(says: "there is no claim 'sourec' that could be the source of 'part'; did you mean 'source'?") {
      $0.createPart("part", on: "b", of: "sourec").refusal
    },
    Wrong(says: "claim 'source' is of class sata, and 'part', which is to be a part of it, asks for class ethernet") {
      $0.createPart("part", on: "b", size: nil) { $0.deviceClass = "ethernet" }.refusal
    },
    Wrong(says: "a size of 268439552 bytes is above the 268435456 bytes of the source 'source'") {
      $0.createPart("part", on: "b", size: 1 << 28 + 4096).refusal
    },
    Wrong(says: "a size of 5000 bytes is not a multiple of the 4096-byte blocks of the source 'source'") {
      $0.createPart("part", on: "b", size: 5000).refusal
    },
    Wrong(says: "cannot choose an end node as well") {
      $0.createPart("part", on: "b") { $0.endNode = EndNodeSelector { $0.host = "c" } }.refusal
    },
    Wrong(says: "claim 'plain' is for a host on b, which would write to the same blocks") {
      $0.createPart("plain", on: "b")
      return $0.createPart("part", on: "b", of: "plain").refusal
    },
    Wrong(says: "claim 'box' is for a container on c") {
      $0.create("box", host: "c", deviceClass: "sata") {
        $0.attributes = Attributes { $0.block = BlockAttributes { $0.sizeBytes = 4096 } }
        $0.consumer = Consumer { $0.kind = .container(ContainerConsumer()) }
      }
      return $0.createPart("part", on: "b", of: "box").refusal
    },
    Wrong(says: "claim 'machine' is for a virtual machine on c") {
      $0.create("machine", host: "c", deviceClass: "sata") {
        $0.attributes = Attributes { $0.block = BlockAttributes { $0.sizeBytes = 4096 } }
        $0.consumer = Consumer { $0.kind = .virtualMachine(VirtualMachineConsumer()) }
      }
      return $0.createPart("part", on: "b", of: "machine").refusal
    },
    Wrong(says: "cannot be read-only") {
      $0.create("still", host: "a", deviceClass: "sata") {
        $0.consumer = Consumer { $0.kind = .fileServer(FileServerConsumer()) }
        $0.attributes = Attributes { $0.block = BlockAttributes { $0.readOnly = true } }
      }.refusal
    },
    Wrong(says: "a/eth1 of class ethernet cannot be used by a file server") {
      $0.create("card", host: "a") { $0.consumer = Consumer { $0.kind = .fileServer(FileServerConsumer()) } }.refusal
    },
    Wrong(says: "claim 'source', the source, is being released") {
      $0.hosts["c"]?.isStuck = true
      $0.delete("source")
      return $0.createPart("part", on: "b").refusal
    },
  ])
  func refuseWhatCannotBe(wrong: Wrong) {
    var world = world()
    let refusal = wrong.create(&world)
    #expect(refusal?.message.contains(wrong.says) == true, "\(refusal?.message ?? "granted")")
  }
}

@Suite struct TearingDownFileServers {
  @Test func isRefusedWhileTheyServe() {
    var world = world()
    world.createPart("part", on: "b")
    world.settle()
    let refusal = world.delete("source").refusal
    #expect(refusal?.code == .failedPrecondition)
    #expect(refusal?.message.contains("is the source of 'part', whose data goes with it") == true)
    #expect(world.phase("source") == .ready)
    world.delete("part")
    // One that is on its way out is no reason to refuse, and one to wait.
    world.delete("source")
    #expect(world.reason("source").contains("a has yet to let go of what it serves from sata/S3R1AL/"))
    #expect(world.reason("source").contains("'part'"))
    world.settle()
    #expect(world.claim("part") == nil && world.claim("source") == nil)
    #expect(world.releases == ["part", "source"])
  }

  @Test func goesFromTheTopDownIfAllIsToGo() {
    var world = world()
    world.createSource("upper", on: "b", size: 1 << 27, from: "source")
    world.createPart("top", on: "c", of: "upper", size: 4096)
    world.createPart("waiting", on: "c", of: "upper", size: 1 << 27)
    world.settle()
    #expect(world.phase("waiting") == .pending)
    world.delete("source", cascade: true)
    #expect(world.phase("source") == .releasing)
    world.settle()
    for name in ["top", "upper", "source", "waiting"] { #expect(world.claim(name) == nil) }
    #expect(world.releases == ["top", "upper", "source"])
    #expect(world.arbiter.endNodes.served.isEmpty)
    #expect(!world.store.keys.contains { $0.kind == .endNode && $0.name.hasPrefix("sata/S3R1AL/") })
    #expect(world.arbiter.claimsOfSource.isEmpty)
  }

  @Test func waitsUntilItsHostHasSaidWhatItServes() {
    var world = world()
    world.createPart("part", on: "b")
    world.settle()
    var forgetful = world
    // An older copy of the store does not know of the part.
    forgetful.store = world.store.filter { key, _ in !(key.kind == .claim && key.name == "part") }
    let part = world.assignment("part")?.function ?? ""
    for key in forgetful.store.keys where key.kind == .wantedFunction && key.name.hasSuffix(part) {
      forgetful.store[key] = nil
    }
    forgetful.restart()
    forgetful.delete("source")
    #expect(forgetful.reason("source").contains("a has yet to report what it serves from"))
    for host in ["a", "b", "c"] { forgetful.connect(host) }
    forgetful.settle()
    #expect(forgetful.phase("source") == .releasing)
    #expect(forgetful.reason("source").contains("iov orphan purge \(part)"))
    let source = forgetful.assignment("source")?.function ?? ""
    #expect(forgetful.hosts["c"]?.wanted[source]?.released == false)
    forgetful.purge(part)
    forgetful.settle()
    #expect(forgetful.claim("source") == nil)
  }

  @Test func isThereAsAnOrphanAndCleanedOfAPartThatIsPurged() throws {
    var world = world()
    world.createPart("part", on: "b")
    world.settle()
    let (source, part) = (world.assignment("source")?.function ?? "", world.assignment("part")?.function ?? "")
    world.store = world.store.filter { key, _ in key.kind != .claim && key.kind != .wantedFunction }
    world.restart()
    for host in ["a", "b", "c"] { world.connect(host) }
    world.settle()
    try #expect(world.purge(part).get().allSatisfy { $0.releasing })
    #expect(world.hosts["a"]?.wanted[part]?.fenced == false, "what is fenced is not cleaned")
    world.settle()
    try #expect(world.adopt(source).get().name == "source")
    world.createPart("next", on: "b")
    world.settle()
    #expect(world.phase("source") == .ready && world.phase("next") == .ready)
  }

  /// Control went to c and, in an older copy of the store, never did: what c has left of the source is cut off.
  @Test func isNotNeededToPurgeWhatTheDeviceHasCutOff() {
    var world = World.fabric()
    for name in ["a", "c", "d"] {
      world.hosts[name]?.endNodes[0].capabilities?.consumers.append("file_server")
      for path in world.hosts[name]?.endNodes[0].capabilities?.byPath.indices ?? 0..<0 {
        world.hosts[name]?.endNodes[0].capabilities?.byPath[path].consumers.append("file_server")
      }
      world.reportInventory(name)
    }
    world.createSource("source", on: "a")
    world.settle()
    world.createPart("part", on: "b")
    world.claimPart("far", on: "b")
    let copy = world.store
    world.disconnect("a")
    world.pass(milliseconds: 20_000)
    world.settle()
    world.crash("a")
    world.store = copy
    world.restart()
    for name in ["a", "b", "c", "d"] { world.connect(name) }
    world.settle()
    #expect(world.phase("source") == .ready && world.phase("part") == .ready)
    let source = world.assignment("source")?.function ?? ""
    let remnants = { (world: World) in
      world.arbiter.listedOrphans.filter { $0.status?.function?.id == source }.map(\.host)
    }
    #expect(world.assignment("source")?.controllingHost == "a" && remnants(world) == ["c"])
    #expect(world.purge(source).refusal == nil)
    world.settle()
    #expect(remnants(world).isEmpty)
    #expect(world.phase("source") == .ready && world.phase("part") == .ready)
  }

  @Test func needsNobodyWhereTheDeviceCutsTheFileServerOff() {
    var world = world()
    world.createPart("part", on: "b")
    world.settle()
    let part = world.assignment("part")?.function ?? ""
    world.disconnect("a")
    world.delete("source", cascade: true)
    world.settle()
    // The source is cut off by the disk's host, and with it the part: its user is told to let go.
    #expect(world.hosts["b"]?.functions[part] == nil)
    #expect(world.claim("part") == nil)
    #expect(world.reason("source").contains("a has yet to let go of"))
    world.connect("a")
    #expect(world.hosts["a"]?.wanted[part]?.fenced == true)
    world.settle()
    #expect(world.claim("source") == nil)
    #expect(world.hosts.values.allSatisfy { $0.functions.isEmpty })
  }

  @Test func leavesWhatIsOnADeadHostToTheCleaningOfTheSource() {
    var world = world()
    world.createPart("part", on: "b")
    world.settle()
    world.crash("a")
    world.confirmDead("a")
    world.delete("source", cascade: true)
    world.settle()
    #expect(world.claim("part") == nil && world.claim("source") == nil)
    #expect(world.arbiter.endNodes["sata/S3R1AL"]?.shares.isEmpty == true)
    world.connect("a")
    world.settle()
    #expect(world.arbiter.abandoned.isEmpty)
  }
}

@Suite struct LosingASource {
  /// Its token is spent where it was served.
  private func lose(_ source: String, _ world: inout World) {
    let function = world.assignment(source)?.function ?? ""
    let token = world.assignment(source)?.token
    world.hosts["c"]?.isStuck = true
    world.hosts["c"]?.answered[function]?.phase = .unspecified
    world.hosts["c"]?.answered[function]?.error = FunctionError {
      $0.step = "serve"
      $0.message = "stale token"
      $0.highestToken = token
    }
    world.report("c")
  }

  @Test func takesAllThatIsFromItAlong() {
    var world = world()
    world.createSource("upper", on: "b", size: 1 << 27, from: "source")
    world.createPart("top", on: "c", of: "upper", size: 4096)
    world.settle()
    let before = ["source", "upper", "top"].compactMap { world.assignment($0)?.function }
    lose("source", &world)
    for name in ["source", "upper", "top"] { #expect(world.phase(name) == .reclaiming) }
    #expect(world.reason("upper").contains("its source 'source' has lost its function: token 2 of"))
    #expect(world.reason("top").contains("its source 'upper' has lost its function: its source 'source' has lost"))
    world.hosts["c"]?.isStuck = false
    world.settle()
    for name in ["source", "upper", "top"] { #expect(world.phase(name) == .ready) }
    #expect(Set(before).isDisjoint(with: ["source", "upper", "top"].compactMap { world.assignment($0)?.function }))
  }

  @Test func isProvenForThePartsByTheProofForTheSource() {
    var world = world()
    world.createPart("part", on: "b")
    world.settle()
    world.disconnect("a")
    lose("source", &world)
    world.hosts["c"]?.isStuck = false
    // Whoever has the part is told to let go once its server is known to be cut off, and not before.
    let part = world.assignment("part")?.function ?? ""
    #expect(world.hosts["b"]?.wanted[part]?.released == false)
    world.settle()
    #expect(world.hosts["b"]?.functions[part] == nil)
    #expect(world.phase("part") == .pending)
    #expect(world.reason("part").contains("its source 'source' has lost its function"))
    world.connect("a")
    world.settle()
    #expect(world.phase("part") == .ready)
  }

  @Test func isNotWhatAHostThatIsAwayMeans() {
    var world = world()
    world.createPart("part", on: "b")
    world.settle()
    let part = world.assignment("part")
    world.crash("a")
    world.confirmDead("a")
    #expect(world.assignment("part")?.function == part?.function)
    world.connect("a")
    #expect(world.phase("part") == .preparing)
    world.settle()
    #expect(world.phase("part") == .ready)
    #expect(world.assignment("part")?.token == part?.token)
  }
}
