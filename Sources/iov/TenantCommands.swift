import ArgumentParser
import Quantities
import Services

struct TenantCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tenant", abstract: "Those for whom claims are made: their weights and quotas.",
    discussion: """
      A claim is of the tenant that it names (iov claim create --tenant), or of the one called default, which is always there. \
      Where functions of a class are short, the one is next that has the least for its weight: of the functions, or of a rate that is \
      promised, whichever it has more of. A quota is the most that a tenant's claims of a class \
      have at a time; what is above it waits.
      """,
    subcommands: [Create.self, List.self, Show.self, Set.self, Delete.self])

  struct Create: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Make a tenant.",
      discussion: """
        Examples:
          iov tenant create lab --weight 2
          iov tenant create shop --quota ethernet:functions=20,bandwidth=40gbit --quota sata:functions=4
        """)

    @Argument(help: "The tenant's name.") var name: String
    @Option(help: "Its share beside those of others, where functions are short.") var weight: UInt32 = 1
    @OptionGroup var quotas: QuotaOptions
    @OptionGroup var common: CommonOptions

    func validate() throws {
      // In the message a weight of zero is one that is not said.
      guard weight > 0 else { throw ValidationError("--weight 0: a tenant has a weight of at least 1") }
    }

    func run() async throws {
      let request = CreateTenantRequest {
        $0.name = name
        $0.weight = weight
        $0.quotas = quotas.quotas.map(\.quota)
      }
      try await withCoordinator(common.connection) { coordinator in
        show(
          try await coordinator.ask { try await coordinator.operations.createTenant(request, options: .command) },
          common)
      }
    }
  }

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "List the tenants, with what their claims have.")

    @OptionGroup var common: ListOptions

    func run() async throws {
      try await withCoordinator(common.connection) { coordinator in
        let answer = try await coordinator.tenants()
        common.output.show(
          answer, names: answer.tenants.map(\.name), table: [Tenant.heading] + answer.tenants.map(\.row))
      }
    }
  }

  struct Show: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Show a tenant: its quotas, and what its claims have.")

    @Argument(help: "The tenant's name.", completion: NameCompletion.tenants) var name: String
    @OptionGroup var common: CommonOptions

    func run() async throws {
      try await withCoordinator(common.connection) { coordinator in
        let tenants = try await coordinator.tenants().tenants
        guard let tenant = tenants.first(where: { $0.name == name }) else {
          throw RPCError(
            .notFound, "no tenant '\(name)'" + suggestion(for: name, among: tenants.map(\.name), of: "tenant"))
        }
        show(tenant, common)
      }
    }
  }

  struct Set: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Change a tenant's weight, or its quotas of some classes.",
      discussion: """
        What is not named stays. A quota takes the place of the whole one of its class.

        Examples:
          iov tenant set lab --weight 3
          iov tenant set shop --quota ethernet:functions=10
          iov tenant set shop --no-quota sata
        """)

    @Argument(help: "The tenant's name.", completion: NameCompletion.tenants) var name: String
    @Option(help: "Its share beside those of others, where functions are short.") var weight: UInt32?
    @OptionGroup var quotas: QuotaOptions
    @Option(
      name: .customLong("no-quota"),
      help: ArgumentHelp("Take the quota of this class away; repeatable.", valueName: "class"))
    var without: [String] = []
    @Flag(
      help: "Also below what its claims have now: they keep it, and get nothing new until it fits.")
    var force = false
    @OptionGroup var common: CommonOptions

    func validate() throws {
      guard weight == nil, quotas.quotas.isEmpty, without.isEmpty else { return }
      throw ValidationError("What is to be changed? Name --weight, --quota or --no-quota.")
    }

    func run() async throws {
      let request = SetTenantRequest {
        $0.name = name
        $0.weight = weight
        $0.quotas = quotas.quotas.map(\.quota) + without.map { name in Quota { $0.deviceClass = name } }
        $0.force = force
      }
      try await withCoordinator(common.connection) { coordinator in
        show(
          try await coordinator.ask { try await coordinator.operations.setTenant(request, options: .command) }, common)
      }
    }
  }

  struct Delete: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Forget a tenant of which there are no claims.")

    @Argument(help: "The tenant's name.", completion: NameCompletion.tenants) var name: String
    @OptionGroup var common: CommonOptions

    func run() async throws {
      try await withCoordinator(common.connection) { coordinator in
        let deleted = try await coordinator.ask { isAgain in
          do {
            return try await coordinator.operations.deleteTenant(
              DeleteTenantRequest { $0.name = name }, options: .command)
          } catch let error as RPCError where isAgain && error.code == .notFound {
            // An earlier call whose answer was lost may have deleted it.
            return Tenant { $0.name = name }
          }
        }
        common.output.show(deleted) { print("tenant \(name) is no more") }
      }
    }
  }
}

struct QuotaOptions: ParsableArguments {
  @Option(
    name: .customLong("quota"),
    help: ArgumentHelp(
      """
      The most that its claims of a class have at a time: CLASS:functions=N, and with commas bandwidth=RATE, iops=N and \
      byte-rate=RATE for the sums of the minimum rates that are promised to them. Repeatable.
      """, valueName: "quota"))
  var quotas: [QuotaArgument] = []
}

/// `CLASS:functions=N,bandwidth=RATE,iops=N,byte-rate=RATE`, in any order.
struct QuotaArgument: ExpressibleByArgument {
  let quota: Quota

  init?(argument: String) {
    let parts = argument.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
    guard parts.count == 2, !parts[0].isEmpty else { return nil }
    var quota = Quota { $0.deviceClass = parts[0] }
    for word in parts[1].split(separator: ",", omittingEmptySubsequences: false) {
      guard let limit = Label(argument: String(word)), quota.set(limit.key, to: limit.value) else { return nil }
    }
    self.quota = quota
  }
}

extension Quota {
  fileprivate mutating func set(_ key: String, to value: String) -> Bool {
    switch key {
    case "functions": functions = UInt32(value)
    case "bandwidth": bitsPerSecond = BitRate(value)?.bitsPerSecond
    case "iops": operationsPerSecond = UInt64(value)
    case "byte-rate": bytesPerSecond = ByteRate(value)?.bytesPerSecond
    default: return false
    }
    return words(of: key) != nil
  }

  private func words(of key: String) -> String? {
    switch key {
    case "functions": functions.map { String($0) }
    case "bandwidth": bitsPerSecond.map(formatBitRate)
    case "iops": operationsPerSecond.map { String($0) }
    default: bytesPerSecond.map { "\($0) B/s" }
    }
  }
}

extension Tenant {
  static let heading = ["NAME", "WEIGHT", "FUNCTIONS IN USE"]

  var row: [String] {
    [name, String(weight), orDash(classes.map { "\($0): \(words(ofFunctionsOf: $0))" }.joined(separator: ", "))]
  }

  var description: Description {
    var text = Description()
    text.facts([("Name", name), ("Weight", String(weight))])
    text.section(
      "In use, of the quota", ["CLASS", "FUNCTIONS", "BANDWIDTH", "OPERATIONS", "BYTES"],
      classes.map { name in
        let (use, quota) = (use(of: name), quota(of: name))
        return [
          name, words(ofFunctionsOf: name),
          Self.words(formatBitRate(use.bitsPerSecond), quota?.bitsPerSecond.map(formatBitRate)),
          Self.words("\(use.operationsPerSecond)/s", quota?.operationsPerSecond.map { "\($0)/s" }),
          Self.words("\(use.bytesPerSecond) B/s", quota?.bytesPerSecond.map { "\($0) B/s" }),
        ]
      })
    return text
  }

  private var classes: [String] { Swift.Set(quotas.map(\.deviceClass) + use.map(\.deviceClass)).sorted() }
  private func use(of name: String) -> TenantUse { use.first { $0.deviceClass == name } ?? TenantUse() }
  private func quota(of name: String) -> Quota? { quotas.first { $0.deviceClass == name } }

  private func words(ofFunctionsOf name: String) -> String {
    Self.words("\(use(of: name).functions)", quota(of: name)?.functions.map { "\($0)" })
  }

  private static func words(_ used: String, _ limit: String?) -> String { limit.map { "\(used) of \($0)" } ?? used }
}

private func show(_ tenant: Tenant, _ common: CommonOptions) {
  common.output.show(tenant) { tenant.description.printed() }
}

extension Coordinator {
  fileprivate func tenants() async throws -> ListTenantsResponse {
    try await ask { try await operations.listTenants(ListTenantsRequest(), options: .command) }
  }
}
