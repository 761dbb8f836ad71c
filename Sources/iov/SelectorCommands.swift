import ArgumentParser
import Selectors
import Services

extension Selector<EndNode> {
  /// A condition from the command line, checked as the coordinator checks it.
  @Sendable static func argument(_ text: String) throws -> Self {
    do throws(SelectorError) { return try Self(text, .endNodes) } catch { throw ValidationError(error.message) }
  }
}

extension Selector<Host> {
  @Sendable static func argument(_ text: String) throws -> Self {
    do throws(SelectorError) { return try Self(text, .hosts) } catch { throw ValidationError(error.message) }
  }
}

extension EndNodeCommand {
  struct Fields: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "What a condition on end nodes can name.",
      discussion: """
        Conditions on end nodes are for `iov claim create --select` and `iov endnode list --select`.

        \(conditionHelp)

          free.functions >= 2 and (label.rack == "r1" or not has(label.rack))
          class == "sas" and capacity.size >= 1TiB and "host-a" in roots
          driver in ["mlx5_core", "ice"] and firmware >= "22.31"
        """)

    func run() { printTable(Vocabulary<EndNode>.endNodes.table) }
  }
}

extension HostCommand {
  struct Fields: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "What a condition on hosts can name.",
      discussion: """
        Conditions on hosts are for `iov claim create --host-select` and `iov host list --select`.

        \(conditionHelp)

          label.zone == "east" and "sas" in classes
          watchdog and name not in ["host-a", "host-b"]
        """)

    func run() { printTable(Vocabulary<Host>.hosts.table) }
  }
}

extension Vocabulary {
  fileprivate var table: [[String]] {
    [["FIELD", "TYPE", "MEANING"], ["label.NAME", "text", "a label"]]
      + fields.map { [$0.name, $0.type.words, $0.meaning] }
  }
}

private let conditionHelp = """
  They are made of

    ==  !=  <  <=  >  >=       comparisons of a field with a value, or with another field
    in [A, B]   not in [A]     one of these values
    "direct" in paths          what is in a field that is a list
    has(label.rack)            whether a label or field is there; so does "rack" in labels
    and  or  not  ( )          or && || !

  Texts are in quotes, "so" or 'so'. Sizes and rates have units: 512MiB, 10GB, 25Gbit, 100MB/s. A label is label.rack, \
  or label["example.com/rack"] if its name is not made of letters, digits, _ and -.

  What is not there is equal to nothing: == and < are false, != is true. Texts are ordered as versions are: "r2" is \
  before "r10".
  """
