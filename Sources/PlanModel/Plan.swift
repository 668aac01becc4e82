package import RunCore

/// A recovery as a person wrote it: validated, but with its templates not yet filled in.
///
/// Encodes losslessly, marks included: a run carries this as its frozen copy (promise P7).
/// Two plans are equal where they mean the same, whatever their comments and line numbers.
package struct Plan: Codable, Hashable, Sendable {
    /// The version of the plan language that this program reads.
    package static let currentLanguage = 1
    /// More steps are refused; a recovery of this size is a mistake in a generator.
    package static let mostSteps = 20_000

    package var language: Int
    package var name: String
    package var title: String
    package var summary: String
    package var parameters: [Parameter]
    package var limits: Limits
    package var allow: [Allowance]
    package var steps: [PlanStep]
    /// Run after everything else, in order, whatever happened.
    package var finally: [PlanStep]

    package init(
        language: Int = Plan.currentLanguage, name: String, title: String = "", summary: String = "",
        parameters: [Parameter] = [], limits: Limits = Limits(), allow: [Allowance] = [], steps: [PlanStep],
        finally: [PlanStep] = []
    ) {
        self.language = language
        self.name = name
        self.title = title
        self.summary = summary
        self.parameters = parameters
        self.limits = limits
        self.allow = allow
        self.steps = steps
        self.finally = finally
    }

    /// How many steps may run at one time.
    package struct Limits: Codable, Hashable, Sendable {
        package var perHost: Int
        package var total: Int

        package init(perHost: Int = 4, total: Int = 16) {
            self.perHost = perHost
            self.total = total
        }
    }

    /// A guard that this plan switches off, knowingly.
    package enum Allowance: String, Codable, Hashable, Sendable, CaseIterable {
        /// A drill may use the cluster that production runs on.
        case sameCluster = "same-cluster"
    }

    package func parameter(named name: String) -> Parameter? { parameters.first { $0.name == name } }
    package func step(_ id: StepID) -> PlanStep? { (steps.first { $0.id == id }) ?? finally.first { $0.id == id } }
}

/// Whether a run recovers production or tests that it could.
package enum RunMode: String, Codable, Hashable, Sendable, CaseIterable {
    case recovery, drill
}

/// One input of a plan. Scripts see it as the environment variable `environmentName`, never as text in the script.
package struct Parameter: Codable, Hashable, Sendable {
    package enum Kind: String, Codable, Hashable, Sendable, CaseIterable {
        case string, identifier, integer, boolean, duration, time, choice, list
    }

    package var name: String
    package var kind: Kind
    /// Given where nothing else is; nil and not required means that the parameter may be absent.
    package var defaultValue: ParameterValue?
    package var choices: [String]
    package var isRequired: Bool
    package var help: String
    /// True: the value is a reference (`env:`, `file:`, `command:`) and what it stands for is never stored or shown.
    package var isSecret: Bool
    @Unhashed package var mark: SourceMark

    package init(
        name: String, kind: Kind = .string, defaultValue: ParameterValue? = nil, choices: [String] = [],
        isRequired: Bool = false, help: String = "", isSecret: Bool = false, mark: SourceMark = .generated
    ) {
        self.name = name
        self.kind = kind
        self.defaultValue = defaultValue
        self.choices = choices
        self.isRequired = isRequired
        self.help = help
        self.isSecret = isSecret
        self.mark = mark
    }

    /// `PARAM_KEEP_AS` for `keep-as`.
    package var environmentName: String { Self.environmentName(for: name) }

    package static func environmentName(for name: String) -> String {
        "PARAM_" + String(String.UnicodeScalarView(name.uppercased().unicodeScalars.map { $0 == "-" ? "_" : $0 }))
    }
}

/// One step as written.
package struct PlanStep: Codable, Hashable, Sendable {
    package var id: StepID
    package var kind: String
    package var title: String
    /// Hosts, groups, `orchestrator`, or templates of parameters; empty where the kind finds its own place.
    package var on: [String]
    /// The steps that must have succeeded first; what was left out in the file is filled in with the step before.
    package var needs: [StepID]
    package var timeout: Duration?
    package var retry: RetryPolicy?
    package var onError: OnError
    /// nil: not declared, so the kind decides.
    package var undo: Undo?
    package var approval: ApprovalSpec?
    package var only: RunMode?
    /// What shows that the step is already done.
    package var unless: Unless?
    /// What the step counts as where a report says where the time went. nil: its kind decides.
    package var phase: String?
    /// For steps that a script makes up: what to do when nobody can tell whether it ran. nil: the kind decides.
    package var inDoubt: InDoubt?
    /// The kind's own fields; always a map.
    package var with: PlanValue
    @Unhashed package var mark: SourceMark

    package enum OnError: String, Codable, Hashable, Sendable, CaseIterable {
        /// The run fails; steps that run side by side are let finish.
        case stop
        /// Go on; the run ends with warnings at best.
        case `continue`
        /// Undo what was done, in reverse order.
        case undo
    }

    package init(
        id: StepID, kind: String, title: String = "", on: [String] = [], needs: [StepID] = [], timeout: Duration? = nil,
        retry: RetryPolicy? = nil, onError: OnError = .stop, undo: Undo? = nil, approval: ApprovalSpec? = nil,
        only: RunMode? = nil, unless: Unless? = nil, phase: String? = nil, inDoubt: InDoubt? = nil, with: PlanValue = .map([]),
        mark: SourceMark = .generated
    ) {
        self.id = id
        self.kind = kind
        self.title = title
        self.on = on
        self.needs = needs
        self.timeout = timeout
        self.retry = retry
        self.onError = onError
        self.undo = undo
        self.approval = approval
        self.only = only
        self.unless = unless
        self.phase = phase
        self.inDoubt = inDoubt
        self.with = with
        self.mark = mark
    }
}

/// How often, and how long between: wait `initial`, then `factor` times longer each time, never above `maximum`.
package struct RetryPolicy: Codable, Hashable, Sendable {
    /// Attempts in all, the first included.
    package var attempts: Int
    package var initial: Duration
    package var factor: Double
    package var maximum: Duration

    package init(
        attempts: Int, initial: Duration = .seconds(2), factor: Double = 2, maximum: Duration = .seconds(60)
    ) {
        self.attempts = attempts
        self.initial = initial
        self.factor = factor
        self.maximum = maximum
    }
}

/// What takes a step back.
package enum Undo: Codable, Hashable, Sendable {
    /// `undo: none`: said aloud that there is nothing to take back.
    case nothing
    case action(UndoSpec)
}

/// The step that takes another one back, on the same hosts.
package struct UndoSpec: Codable, Hashable, Sendable {
    package var kind: String
    package var with: PlanValue
    @Unhashed package var mark: SourceMark

    package init(kind: String, with: PlanValue, mark: SourceMark = .generated) {
        self.kind = kind
        self.with = with
        self.mark = mark
    }
}

/// A person's word, asked for before the step starts.
package struct ApprovalSpec: Codable, Hashable, Sendable {
    package var message: String
    /// Steps whose evidence is shown with the question.
    package var show: [StepID]
    package var approverNotStarter: Bool

    package init(message: String, show: [StepID] = [], approverNotStarter: Bool = false) {
        self.message = message
        self.show = show
        self.approverNotStarter = approverNotStarter
    }
}

/// What to do with a script of which nobody can tell whether it ran.
package enum InDoubt: Codable, Hashable, Sendable {
    /// Wait for a person.
    case ask
    /// The script may run twice without harm.
    case rerun
    /// Status 0 of this script says that it is done, 1 that it is not, anything else that it cannot tell.
    case verify(script: String)
}
