import ArgumentParser
import Services

extension ClaimCommand {
  struct Create: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Ask for a function on a host.",
      discussion: """
        Asking twice with the same name and the same settings is one claim. A claim that nothing fits stays pending, and \
        `iov claim get` says why.

        Examples:
          iov claim create web --class ethernet --host host-b --netns web --interface eth0 --max-transmit 1gbit --wait
          iov claim create fast --class ethernet --host host-a --path direct --vlan 100 --vm-qmp /run/vm1.qmp --vm-bus port1
          iov claim create data --class sata --host host-a --size 64MiB --max-write-iops 500 --path mediated --wait
          iov claim create disk --class sas --host host-b --path direct --wait
          iov claim create shelf --class sas --host host-a --file-server
          iov claim create part --class sas --host host-b --source shelf --size 10GB --wait
          iov claim create near --class ethernet --host host-a --select 'label.rack == "r1" and free.functions > 2'
          iov claim create urgent --class ethernet --host host-a --priority 10 --wait
          iov claim create any --class ethernet --host-select 'label.zone == "east"' --path direct --path direct-software
          iov claim create fan --class ethernet --host-select 'label.zone == "east"' --peers fan --nearest
          iov claim create own --class ethernet --host host-a --path direct --path mediated --upgrade --locality rack
          iov claim create train --class ethernet --host-select 'label.gpu == "yes"' --count 4 --wait

        With --count it is a group: claims NAME-1, NAME-2, … that get a function each, all of them or none.

        What a condition can say of end nodes and of hosts: iov endnode fields, iov host fields
        """)

    @Argument(help: "The claim's name, unique in the cluster.") var name: String
    @Option(
      name: .customLong("class"), help: ArgumentHelp("Device class: ethernet, sas, sata, nvme.", valueName: "class"))
    var deviceClass: String
    @Option(help: "The host that is to use the function.", completion: NameCompletion.hosts) var host: String?
    @Option(
      name: .customLong("hosts"),
      help: ArgumentHelp(
        "Instead of --host: one of these, whichever gets the best path; repeatable, or with commas.", valueName: "host"),
      completion: NameCompletion.hosts, transform: { $0.split(separator: ",").map(String.init) })
    var hosts: [[String]] = []
    @Option(
      name: .customLong("host-select"),
      help: ArgumentHelp(
        "Instead of --host: a host of which this is so, among --hosts if those are given; see `iov host fields`.",
        valueName: "condition"))
    var hostCondition: String?

    @OptionGroup var consumer: ConsumerOptions

    @Option(
      help: ArgumentHelp("Only this end node, by name or id.", valueName: "name"), completion: NameCompletion.endNodes)
    var endNode: String?
    @Option(
      help: ArgumentHelp(
        "A part of what this claim holds, which was made with --file-server; its host serves it.", valueName: "claim"),
      completion: NameCompletion.claims)
    var source: String?
    @Option(help: ArgumentHelp("Only end nodes of this host.", valueName: "host"), completion: NameCompletion.hosts)
    var endNodeHost: String?
    @Option(
      name: .customLong("end-node-label"),
      help: ArgumentHelp("Only end nodes with this label; repeatable.", valueName: "key=value"))
    var endNodeLabels: [Label] = []
    @Option(
      name: .customLong("select"),
      help: ArgumentHelp(
        "Only end nodes of which this is so; see `iov endnode fields`.", valueName: "condition"))
    var condition: String?
    @Option(
      name: .customLong("path"), help: "An allowed path; repeat it in order of preference. Default: any, fastest first."
    )
    var paths: [Path] = []

    @OptionGroup var ethernet: EthernetOptions

    @OptionGroup var block: BlockOptions

    @OptionGroup var placement: PlacementOptions

    @Flag(
      help: """
        Let go of the function when the host has lost the coordinator for longer than its lease, and get another one when \
        it is back. Default: keep it.
        """)
    var selfFence = false

    @Option(
      name: .customLong("evict"),
      help: """
        When the function may be taken away for another one elsewhere: never; at the deadline of a drain; by a drain, as soon as \
        it fits elsewhere; or at any time, to even out what end nodes have to do. Default: drain; of a disk never, since what is \
        on it is lost.
        """)
    var eviction: EvictionWord?
    @Option(
      name: .customLong("evict-unhealthy"),
      help: ArgumentHelp(
        """
        Take the function away for another one elsewhere when it has been unhealthy for so long: 30s, 10m, 2h. Of a disk together \
        with --evict, since what is on it is lost. Default: keep it.
        """, valueName: "time"))
    var unhealthyTime: WholeSeconds?
    @Option(
      help: ArgumentHelp(
        "Whose claim it is, and whose quotas it counts in; see `iov tenant list`. Default: default.", valueName: "name"),
      completion: NameCompletion.tenants)
    var tenant: String?
    @Option(
      help: """
        Among claims that wait, higher ones are served first, and have claims of lower ones let go where they are in the way; see \
        --preempt. Default: 0.
        """)
    var priority: Int32?
    @Option(
      name: .customLong("preempt"),
      help: ArgumentHelp(
        """
        What is done where nothing is free: lower, claims of strictly lower priorities let go, the fewest that will do and none made \
        with --evict never; or never, it waits. Default: lower.
        """, valueName: "whom"))
    var preemption: PreemptionWord?

    @Option(
      name: .customLong("tolerate"),
      help: ArgumentHelp(
        """
        A taint of end nodes and hosts that does not keep the function away: KEY, KEY=VALUE, each with :no-schedule or :no-execute \
        behind it if it is for that effect alone, and with :no-execute:300 for so many seconds; '*' for every key. Repeatable.
        """, valueName: "taint"))
    var tolerations: [TolerationOption] = []

    @Option(
      help: ArgumentHelp(
        "Delete it by itself after this time, with what is on its disk: 90s, 10m, 2h, 1d; see `iov claim extend`.",
        valueName: "time"))
    var ttl: WholeSeconds?

    @Option(help: "So many functions at once or none, for a group of claims that stay together.")
    var count: Int?

    @OptionGroup var waiting: WaitOptions
    @OptionGroup var common: CommonOptions

    /// As the coordinator has it.
    private static var mostMembers: Int { 256 }

    func validate() throws {
      if let count, !(1...Self.mostMembers).contains(count) {
        throw ValidationError("--count \(count): a group has at least one member, and at most \(Self.mostMembers)")
      }
      guard host == nil, hosts.isEmpty, hostCondition == nil else { return }
      throw ValidationError("Where is the function used? Name --host, or --hosts or --host-select for one of several.")
    }

    func run() async throws {
      try await withCoordinator(common.connection) { coordinator in
        if let count { return try await createGroup(of: count, coordinator) }
        let request = CreateClaimRequest {
          $0.name = name
          $0.specification = specification
        }
        var claim = try await coordinator.ask {
          try await coordinator.claims.createClaim(request, options: .command)
        }
        if waiting.wait, claim.status?.phase != .ready {
          claim =
            try await coordinator.claim(named: name, uid: claim.uid, reaches: .ready, within: waiting.limit) ?? claim
        }
        show(claim, common)
      }
    }

    private func createGroup(of count: Int, _ coordinator: Coordinator) async throws {
      let members = (1...count).map { number in
        CreateClaimRequest {
          $0.name = "\(name)-\(number)"
          $0.specification = specification
          $0.specification?.group = name
        }
      }
      try await checkNoneIsLeftOut(of: members.map(\.name), coordinator)
      var done = try await coordinator.apply(members, replace: false, revision: "")
      if waiting.wait { try await coordinator.waitUntilReady(&done, within: waiting.limit) }
      common.output.show(done) { done.printClaims() }
    }

    /// A file may name some of a group's members; who says how many there are to be means all of them.
    private func checkNoneIsLeftOut(of names: [String], _ coordinator: Coordinator) async throws {
      let present = try await coordinator.members(of: name).filter { $0.status?.phase != .releasing }.map(\.name)
      guard present.count > names.count, Set(present).isSuperset(of: names) else { return }
      throw RPCError(
        .failedPrecondition,
        "group '\(name)' keeps the \(present.count) members that it was made with, \(shortList(present)), and --count \(names.count) asks "
          + "for fewer: nothing was done; ask for all of them, or delete it and make it anew: iov claim delete \(present[0]) "
          + "--whole-group")
    }

    var specification: ClaimSpecification {
      ClaimSpecification {
        $0.deviceClass = deviceClass
        $0.host = host ?? ""
        $0.hosts = hosts.flatMap { $0 }
        $0.hostSelector = hostCondition ?? ""
        $0.consumer = consumer.consumer
        $0.endNode = named
        $0.selector = condition ?? ""
        $0.allowedPaths = paths
        $0.attributes = attributes
        $0.source = source ?? ""
        $0.timeToLiveSeconds = ttl?.seconds ?? 0
        $0.locality = placement.asked.locality
        $0.placement = placement.asked.placement
        $0.upgrade = placement.upgrade
        if selfFence { $0.lossPolicy = .selfFence }
        $0.evictionPolicy = eviction?.policy ?? .unspecified
        $0.unhealthySeconds = unhealthyTime?.seconds
        $0.tenant = tenant ?? ""
        $0.priority = priority ?? 0
        $0.preemption = preemption?.policy ?? .unspecified
        $0.tolerations = tolerations.map(\.toleration)
      }
    }

    private var named: EndNodeSelector? {
      guard endNode != nil || endNodeHost != nil || !endNodeLabels.isEmpty else { return nil }
      return EndNodeSelector {
        $0.name = endNode ?? ""
        $0.host = endNodeHost ?? ""
        for label in endNodeLabels { $0.labels[label.key] = label.value }
      }
    }

    /// Only what was asked for: an empty group would ask a disk for Ethernet settings.
    private var attributes: Attributes? {
      var ethernet = ethernet.attributes
      var block = block.attributes
      // One word for both kinds of limits: it goes to the kind that is asked for.
      if ethernet.rateGuarantee == .bestEffort, block != BlockAttributes() {
        block.rateGuarantee = .bestEffort
        ethernet.rateGuarantee = .unspecified
      }
      guard ethernet != EthernetAttributes() || block != BlockAttributes() else { return nil }
      return Attributes {
        $0.ethernet = ethernet == EthernetAttributes() ? nil : ethernet
        $0.block = block == BlockAttributes() ? nil : block
      }
    }
  }
}

/// Who has to let go for a claim that nothing fits.
enum PreemptionWord: String, ExpressibleByArgument, CaseIterable {
  case lower, never

  var policy: PreemptionPolicy {
    switch self {
    case .lower: .lowerPriority
    case .never: .never
    }
  }
}

extension Path: ExpressibleByArgument {
  public init?(argument: String) {
    guard let path = Path.offered.first(where: { $0.word == argument }) else { return nil }
    self = path
  }

  private static let offered: [Path] = [.direct, .directSoftware, .mediated]

  public static var allValueStrings: [String] { offered.map(\.word) }
}
