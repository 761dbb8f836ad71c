import Configuration
import Services
import Testing

@testable import Coordinator

@Suite struct CoordinatorConfigurationTests {
  private func load(_ text: String) throws(ConfigurationError) -> CoordinatorConfiguration {
    let configuration = try Configuration.decode(CoordinatorConfiguration.self, from: text, named: "coordinator.yaml")
    try configuration.check("coordinator.yaml")
    return configuration
  }

  private func problem(_ text: String) -> String {
    do throws(ConfigurationError) {
      _ = try load(text)
      return ""
    } catch {
      return error.description
    }
  }

  private let store = "store: {path: /x/claims.sqlite}\n"

  @Test func theStoreIsAllThatMustBeSaid() throws {
    let configuration = try load(store)
    #expect(configuration.listen == [.tcp(host: "127.0.0.1", port: 7100)])
    #expect(configuration.leaseTermMilliseconds == 10_000)
    #expect(configuration.heartbeatIntervalMilliseconds == 3_000)
    #expect(configuration.logLevel == .info)
    #expect(problem("logLevel: info\n").contains("store.path is missing"))
    #expect(problem("stor: {path: /x}\n").contains("unknown key 'stor'; did you mean 'store'?"))
  }

  @Test(arguments: ["127.0.0.1:0", "127.8.0.1:7100", "[::1]:7100", "localhost:7100", "unix:/run/iov/x.sock"])
  func whatOnlyThisMachineReachesMayBeListenedOn(_ endpoint: String) throws {
    #expect(try load(store + "listen: [\"\(endpoint)\"]\n").listen.count == 1)
  }

  @Test(arguments: ["0.0.0.0:7100", "10.0.0.1:7100", "[::]:7100", "127.example.org:7100", "rack:7100"])
  func whatOthersReachMustBeAskedFor(_ endpoint: String) throws {
    #expect(problem(store + "listen: [\"\(endpoint)\"]\n").contains("insecureListenBeyondLoopback: true"))
    #expect(try load(store + "insecureListenBeyondLoopback: true\nlisten: [\"\(endpoint)\"]\n").listen.count == 1)
  }

  @Test func valuesThatMakeNoSenseAreExplained() {
    #expect(problem(store + "listen: []\n").contains("nobody could reach"))
    #expect(problem(store + "listen: [nonsense]\n").contains("'nonsense'"))
    #expect(problem(store + "leaseTermMilliseconds: 50\n").contains("100 to 3600000"))
    #expect(problem(store + "heartbeatIntervalMilliseconds: 6000\n").contains("at most half"))
    #expect(problem(store + "logLevel: loud\n").contains("known: trace"))
    #expect(problem(store + "lisen: []\n").contains("did you mean 'listen'?"))
  }
}
