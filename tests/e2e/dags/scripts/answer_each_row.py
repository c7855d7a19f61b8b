"""Answers each row of a table with its id and twice its number."""


def run(mini_batch):
    return [f"{name}: {2 * number}" for name, number in zip(mini_batch["id"], mini_batch["number"], strict=True)]
