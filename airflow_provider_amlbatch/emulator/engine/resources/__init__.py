"""What is put on the path of the scoring process because Azure's runtime has it there."""
