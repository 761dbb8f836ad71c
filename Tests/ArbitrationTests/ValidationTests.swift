import Messages
import Testing

@testable import Arbitration
@testable import Simulation

/// What can never be met is refused when it is asked, with the words that the caller needs.
@Suite struct ValidationTests {
  private func refusal(
    _ name: String = "web", host: String = "b", deviceClass: String = "ethernet",
    in world: World = World.rack(), _ change: (inout ClaimSpecification) -> Void = { _ in }
  ) -> Refusal? {
    var world = world
    return world.create(name, host: host, deviceClass: deviceClass, change).refusal
  }

  private func ethernet(_ change: (inout EthernetAttributes) -> Void) -> Attributes {
    Attributes { attributes in attributes.ethernet = EthernetAttributes { change(&$0) } }
  }

  private func block(_ change: (inout BlockAttributes) -> Void) -> Attributes {
    Attributes { attributes in attributes.block = BlockAttributes { change(&$0) } }
  }

  private func check(
    _ refusal: Refusal?, _ code: Refusal.Code, _ words: String, sourceLocation: SourceLocation = #_sourceLocation
  ) {
    #expect(refusal?.code == code, sourceLocation: sourceLocation)
    #expect(
      refusal?.message.contains(words) == true, "\(refusal?.message ?? "accepted")", sourceLocation: sourceLocation)
  }

  @Test func namesShowTheOddCharacter() {
    check(refusal("Web"), .invalidArgument, "character 1 of 'Web' is 'W'")
    check(refusal("a_b"), .invalidArgument, "is '_'")
    check(refusal("a b"), .invalidArgument, "is U+0020")
    check(refusal("a\u{430}"), .invalidArgument, "is U+0430")
    check(refusal("a/b"), .invalidArgument, "is '/'")
    check(refusal(".."), .invalidArgument, "begins with a letter or a digit")
    check(refusal(""), .invalidArgument, "must not be empty")
    check(refusal(String(repeating: "x", count: 64)), .invalidArgument, "has 64")
  }

  @Test func unknownThingsComeWithWhatIsKnown() {
    check(refusal(deviceClass: "nvme"), .invalidArgument, "known classes: ethernet, sata")
    check(refusal(host: "x"), .invalidArgument, "did you mean 'a' or 'b' or 'c'?")
    check(refusal { $0.endNode = EndNodeSelector { $0.name = "a/eth2" } }, .invalidArgument, "did you mean 'a/eth1'?")
    check(refusal { $0.endNode = EndNodeSelector { $0.host = "nobody" } }, .invalidArgument, "known hosts: a, b, c")
    check(refusal { $0.endNode = EndNodeSelector { $0.name = "c/sda" } }, .invalidArgument, "is of class sata")
    check(refusal { $0.allowedPaths = [.unrecognized(9)] }, .invalidArgument, "known paths: direct, direct-software")
    check(refusal(in: World()), .invalidArgument, "no plugin has been reported yet")
    var world = World.rack()
    world.create("web")
    check(world.arbiter.unknownClaim("wbe"), .notFound, "did you mean 'web'?")
  }

  @Test func listsThatNobodyNeedsAreRefused() {
    let paths: (Int) -> [Path] = { Array(repeating: .mediated, count: $0) }
    #expect(refusal { $0.allowedPaths = paths(16) } == nil)
    check(
      refusal { $0.allowedPaths = paths(17) }, .invalidArgument,
      "17 allowed paths are asked for; 16 are the most: name each path once")
    let hosts: (Int) -> [String] = { Array(repeating: "b", count: $0) }
    #expect(refusal(host: "") { $0.hosts = hosts(256) } == nil)
    check(
      refusal(host: "") { $0.hosts = hosts(257) }, .invalidArgument,
      "257 hosts are asked for; 256 are the most: say by a host selector which ones will do")
    let labels: (Int) -> EndNodeSelector = { count in
      EndNodeSelector { for number in 0..<count { $0.labels["label-\(number)"] = "" } }
    }
    check(
      refusal { $0.endNode = labels(17) }, .invalidArgument, "17 labels of an end node are asked for; 16 are the most")
    #expect(refusal { $0.endNode = labels(16) } == nil)
  }

  /// Whoever names a path again asks for nothing else.
  @Test func aPathThatIsNamedAgainIsLeftOut() throws {
    var world = World.rack()
    let claim = try world.create("web") { $0.allowedPaths = [.mediated, .directSoftware, .mediated] }.get()
    #expect(claim.specification?.allowedPaths == [.mediated, .directSoftware])
    let again = try world.create("web") { $0.allowedPaths = [.mediated, .directSoftware] }.get()
    #expect(again.uid == claim.uid)
  }

  @Test func anAttributeOfAnotherClassIsRefused() {
    check(refusal { $0.attributes = block { $0.sizeBytes = 4096 } }, .invalidArgument, "attribute block.size_bytes")
  }

  @Test func addressesMustBeOnesThatAnInterfaceCanHave() {
    check(refusal { $0.attributes = ethernet { $0.macAddress = "01:00:5e:00:00:01" } }, .invalidArgument, "multicast")
    check(refusal { $0.attributes = ethernet { $0.macAddress = "00:00:00:00:00:00" } }, .invalidArgument, "nobody's")
    for odd in [
      "", "02:00:00:00:00", "02-00-00-00-00-01", "02:00:00:00:00:0g", "+2:00:00:00:00:01", "02:00:00:00:00:001",
    ] {
      check(refusal { $0.attributes = ethernet { $0.macAddress = odd } }, .invalidArgument, "is no MAC address")
    }
    check(
      refusal { $0.attributes = ethernet { $0.macAddress = "52:54:00:00:00:01" } }, .invalidArgument,
      "that of the end node a/eth1")
  }

  @Test func anAddressIsGivenOnce() throws {
    var world = World.rack()
    let taken = try world.create("one").get().status?.assignment?.attributes?.ethernet?.macAddress
    check(
      refusal(in: world) { $0.attributes = ethernet { $0.macAddress = taken } }, .invalidArgument,
      "in use by claim 'one'")
    world.disconnect("a")
    world.create("two") { $0.attributes = ethernet { $0.macAddress = "02:00:00:00:00:02" } }
    #expect(world.phase("two") == .pending)
    check(
      refusal(in: world) { $0.attributes = ethernet { $0.macAddress = "02:00:00:00:00:02" } }, .invalidArgument,
      "in use by claim 'two'")
  }

  @Test func limitsOfEveryDeviceAreNamed() {
    check(
      refusal { $0.attributes = ethernet { $0.maxReceiveBitsPerSecond = 10_000_000_001 } }, .invalidArgument,
      "above the 10000000000 bit/s of a/eth1")
    check(refusal { $0.attributes = ethernet { $0.mtu = 1451 } }, .invalidArgument, "an MTU of 1451 is above 1450")
    check(refusal { $0.attributes = ethernet { $0.mtu = 9001 } }, .invalidArgument, "an MTU of 9001 is above 9000")
    check(refusal { $0.attributes = ethernet { $0.mtu = 67 } }, .invalidArgument, "below 68")
    #expect(refusal { $0.attributes = ethernet { $0.mtu = 1450 } } == nil)
    #expect(refusal(host: "a") { $0.attributes = ethernet { $0.mtu = 9000 } } == nil)
  }

  @Test func anUnderlayWithIPv6CarriesLess() {
    var world = World()
    var a = FakeHost("a", address: "fd00::1")
    a.plugins = [ethernetPlugin()]
    a.endNodes = [card("ethernet/1")]
    var b = FakeHost("b", address: "fd00::2")
    b.plugins = [ethernetPlugin()]
    world.add(a)
    world.add(b)
    check(refusal(in: world) { $0.attributes = ethernet { $0.mtu = 1431 } }, .invalidArgument, "above 1430")
  }

  @Test func sizesMustFitADevice() {
    func disk(_ size: UInt64) -> Refusal? {
      refusal(deviceClass: "sata") { $0.attributes = block { $0.sizeBytes = size } }
    }
    check(disk(0), .invalidArgument, "zero bytes")
    check(disk(5000), .invalidArgument, "not a multiple of the 4096-byte blocks")
    check(disk(1 << 31), .invalidArgument, "above the 1073741824 bytes of c/sda")
    #expect(disk(1 << 30) == nil)
  }

  @Test func consumersMustBeOnesThatTheClassHas() {
    check(
      refusal { $0.consumer = Consumer { $0.kind = .networkNamespace(NetworkNamespaceConsumer()) } },
      .invalidArgument, "its name is empty")
    check(
      refusal {
        $0.consumer = Consumer { $0.kind = .networkNamespace(NetworkNamespaceConsumer { $0.name = "../blue" }) }
      }, .invalidArgument, "cannot hold '/'")
    check(
      refusal(deviceClass: "sata") {
        $0.consumer = Consumer { $0.kind = .networkNamespace(NetworkNamespaceConsumer { $0.name = "blue" }) }
        $0.attributes = block { $0.sizeBytes = 4096 }
      }, .invalidArgument, "cannot be used by a network namespace")
    check(refusal { $0.consumer = Consumer { $0.interfaceName = "a-very-long-name" } }, .invalidArgument, "has 16")
    check(refusal { $0.consumer = Consumer { $0.interfaceName = "eth 0" } }, .invalidArgument, "cannot hold U+0020")
    var world = World.rack()
    world.create("one") { $0.consumer = Consumer { $0.interfaceName = "blue0" } }
    check(
      refusal(in: world) { $0.consumer = Consumer { $0.interfaceName = "blue0" } }, .invalidArgument,
      "claim 'one' already has the interface 'blue0'")
  }
}

@Suite struct NameSuggestionTests {
  private let many = (0..<1500).map { "claim-\($0)" }

  @Test func aSlipIsFoundAmongVeryMany() {
    #expect(
      Names.suggestion(for: "clam-1234", among: many.shuffled(), of: "claims").hasPrefix(
        "; did you mean 'claim-1234'"))
  }

  @Test func ofOthersTheFirstOnesAreNamed() {
    #expect(
      Names.suggestion(for: "something-else", among: many.shuffled(), of: "claims")
        == "; known claims: claim-0, claim-1, claim-10, claim-100, claim-1000, claim-1001, claim-1002, claim-1003 and 1492 more"
    )
  }
}
