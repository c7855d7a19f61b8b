from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_amlbatch.aml.pipelines import DataPath, DataSetDefinitionValue, GraphInterface, Parameter
from airflow_provider_amlbatch.emulator.errors import BadRequest, Unsupported
from airflow_provider_amlbatch.emulator.services.graph import EnvironmentDefinition, Graph, ModuleNode
from airflow_provider_amlbatch.emulator.services.step_environment import interpreter
from airflow_provider_amlbatch.emulator.services.submissions import assignments, resolve

INTERFACE = GraphInterface(
    parameters=[Parameter(name="size", default_value="5"), Parameter(name="label")],
    data_path_parameters=[
        {"Name": "place", "DefaultValue": {"DataStoreName": "blobs", "RelativePath": "here"}, "IsOptional": True}
    ],
    data_path_parameter_list=[
        {"Name": "which", "DefaultValue": {"SavedDataSetReference": {"Id": "saved"}}, "IsOptional": True}
    ],
)


def resolved(parameters: Any = None, data_paths: Any = None, datasets: Any = None) -> Any:
    return resolve(INTERFACE, assignments(parameters, data_paths, datasets))


def test_defaults_stand_where_nothing_is_given() -> None:
    values = resolved()
    assert values.parameters == {"size": "5"}
    assert values.data_paths["place"].relative_path == "here"
    assert values.datasets["which"].saved_data_set_reference.id == "saved"


def test_numbers_become_texts_and_null_leaves_the_default() -> None:
    assert resolved({"size": 6, "label": True}).parameters == {"size": "6", "label": "True"}
    assert resolved({"size": None}).parameters == {"size": "5"}


def test_a_parameter_that_is_not_declared_is_left_out() -> None:
    assert resolved({"sise": "6"}).parameters == {"size": "5"}


def test_a_path_may_be_given_to_a_dataset_parameter_and_the_other_way_round() -> None:
    there = DataPath(data_store_name="blobs", relative_path="there")
    values = resolved(data_paths={"which": there}, datasets={"place": DataSetDefinitionValue(literal_value=there)})
    assert values.datasets["which"].literal_value == there
    assert values.data_paths["place"] == there


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ((None, {"size": DataPath()}, None), "'size' for DataPathAssignments; it declares: place, which"),
        ((None, None, {"x": DataSetDefinitionValue()}), "DataSetDefinitionValueAssignments"),
        (({"size": [1]}, None, None), "[1]"),
    ],
)
def test_a_name_that_is_not_declared_is_refused_with_those_that_are(given: tuple[Any, ...], part: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        resolved(*given)
    assert part in refusal.value.message


def environment(**sections: Any) -> EnvironmentDefinition:
    return EnvironmentDefinition.model_validate({"name": "mine", **sections})


def test_an_environment_that_names_an_interpreter_gets_it(tmp_path: Path) -> None:
    def python(path: str | None) -> EnvironmentDefinition:
        return environment(python={"userManagedDependencies": True, "interpreterPath": path})

    assert interpreter(python(sys.executable), default="/own").path == sys.executable
    assert interpreter(python("python"), default="/own").path == "/own"
    assert interpreter(python(None), default="/own").note is None
    with pytest.raises(BadRequest, match="'mine' names the interpreter"):
        interpreter(python(str(tmp_path / "nothing")))


def test_scripts_run_under_the_python_that_has_the_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AMLBATCH_SDK_PYTHON", raising=False)
    assert interpreter(environment()).path == sys.executable
    monkeypatch.setenv("AMLBATCH_SDK_PYTHON", "/opt/azureml/bin/python")
    assert interpreter(environment()).path == "/opt/azureml/bin/python"


def test_a_conda_environment_is_substituted_and_said_and_a_dockerfile_is_refused() -> None:
    conda = environment(python={"condaDependencies": {"dependencies": ["python=3.8"]}})
    chosen = interpreter(conda, default="/own")
    assert chosen.path == "/own"
    assert "'mine' is scored with /own" in str(chosen.note)
    with pytest.raises(Unsupported, match="interpreter_path"):
        interpreter(environment(docker={"baseDockerfile": "FROM x"}))


@pytest.mark.parametrize(
    "text", ["no", "[]", '{"nodeCount": "x"}', '{"environment": 1}', '{"environment": {"python": []}}']
)
def test_a_run_configuration_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="node 'n'"):
        ModuleNode(id="n", module_id="m", runconfig=text).run_configuration()


def test_an_interface_that_cannot_be_read_is_refused() -> None:
    unreadable: list[dict[str, Any]] = [{"DefaultValue": {}}, {"Name": "x", "DefaultValue": 5}]
    for wrong in unreadable:
        with pytest.raises(BadRequest, match="DataPath parameter"):
            resolve(GraphInterface(data_path_parameters=[wrong]), assignments(None, None, None))


def _graph(edges: list[tuple[str, str]], *nodes: str) -> Graph:
    return Graph.model_validate(
        {
            "ModuleNodes": [{"Id": node, "ModuleId": "m"} for node in nodes],
            "Edges": [
                {
                    "SourceOutputPort": {"NodeId": source, "PortName": "out"},
                    "DestinationInputPort": {"NodeId": target, "PortName": "in"},
                }
                for source, target in edges
            ],
        }
    )


def test_steps_are_ordered_by_their_edges() -> None:
    ordered = _graph([("c", "a"), ("b", "c"), ("data", "b")], "a", "b", "c").ordered_steps()
    assert [node.id for node in ordered] == ["b", "c", "a"]
    with pytest.raises(BadRequest, match="cycle"):
        _graph([("a", "b"), ("b", "a")], "a", "b").ordered_steps()
    with pytest.raises(BadRequest, match="no steps"):
        _graph([]).ordered_steps()
